"""The files of contrib/monitoring, judged by Debian's Prometheus."""

import re

import pytest

from tests.lab.prometheus import FILES, promtool

pytestmark = [pytest.mark.monitoring, pytest.mark.timeout(600)]


def test_rules() -> None:
    """promtool takes rules and configurations, and each alert fires when it should, and not else."""
    promtool("check", "rules", FILES / "alerts.yml")
    for configuration in ("prometheus.yml", "prometheus-swarm.yml"):
        promtool("check", "config", "--syntax-only", FILES / configuration)
    promtool("test", "rules", FILES / "alerts_test.yml")
    tested = set(re.findall(r"alertname: (\w+)", (FILES / "alerts_test.yml").read_text()))
    assert tested == set(re.findall(r"alert: (\w+)", (FILES / "alerts.yml").read_text()))
