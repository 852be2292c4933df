"""The files of contrib/monitoring, judged by Debian's Prometheus: by themselves, and against the real plugin."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.build import PLUGIN
from tests.lab.command import wait_until
from tests.lab.containers import Container
from tests.lab.kea import Kea
from tests.lab.lab import Lab
from tests.lab.network import MACHINE
from tests.lab.plugin import Plugin, create
from tests.lab.prometheus import FILES, Prometheus, promtool
from tests.plugin.conftest import create_network

pytestmark = [pytest.mark.monitoring, pytest.mark.timeout(600)]
PORT, TOKEN = 9618, "a-token-of-the-tests"
ALERT_SECONDS = 120.0
DEATHS = 4
METRIC = re.compile(r"\bnet_dhcp_[a-z0-9_]+")
VARIABLES = {"$host": ".*", "$__rate_interval": "1m"}


def queries() -> list[str]:
    """The dashboard's, as Grafana sends them when all hosts are chosen."""
    panels = json.loads((FILES / "dashboard.json").read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    for variable, value in VARIABLES.items():
        found = [query.replace(variable, value) for query in found]
    return found


def test_rules() -> None:
    """promtool takes rules and configurations, and each alert fires when it should, and not else."""
    promtool("check", "rules", FILES / "alerts.yml")
    for configuration in ("prometheus.yml", "prometheus-swarm.yml"):
        promtool("check", "config", "--syntax-only", FILES / configuration)
    promtool("test", "rules", FILES / "alerts_test.yml")
    tested = set(re.findall(r"alertname: (\w+)", (FILES / "alerts_test.yml").read_text()))
    assert tested == set(re.findall(r"alert: (\w+)", (FILES / "alerts.yml").read_text()))


@pytest.fixture(name="plugin", scope="module")
def _plugin(lab: Lab) -> Iterator[Plugin]:
    """One that serves its metrics over TCP, to those who have the token."""
    name = f"watched:{lab.name}"
    create(lab.engine.docker, name, PLUGIN)
    lab.engine.docker("plugin", "set", name, f"OPS_LISTEN={MACHINE}:{PORT}", f"OPS_TOKEN={TOKEN}")
    lab.engine.docker("plugin", "enable", name)
    plugin = Plugin.installed(lab.engine, name)
    yield plugin
    plugin.remove()


@pytest.fixture
def prometheus(lab: Lab, plugin: Plugin, tmp_path: Path) -> Iterator[Prometheus]:
    """On another machine of the LAN."""
    prometheus = Prometheus(tmp_path / "prometheus", lab.network.lan)
    prometheus.start(TOKEN, f"{MACHINE}:{PORT}")
    yield prometheus
    prometheus.stop()


def test_against_the_plugin(prometheus: Prometheus, lab: Lab, plugin: Plugin, kea: Kea) -> None:
    """Alerts tell of a worker that dies and of a lease that is lost, and each query of the dashboard has an answer."""
    create_network(plugin, "lan")
    container = Container.run(plugin.docker, "web", "--network=lan")
    wait_until(lambda: list(prometheus.targets().values()) == ["up"], "a scrape")
    wait_until(lambda: prometheus.query('net_dhcp_lease_info{container="web",state="bound"}'), "the lease's metrics")

    for _ in range(DEATHS):
        kill_worker(plugin)
    wait_until(lambda: "NetDhcpWorkerRestarting" in prometheus.alerts(), "the alert of a worker", ALERT_SECONDS)

    kea.stop()
    wait_until(lambda: "NetDhcpLeaseLost" in prometheus.alerts(), "the alert of a lost lease", ALERT_SECONDS)
    assert prometheus.alerts()["NetDhcpLeaseLost"]["container"] == "web"
    kea.start()
    wait_until(lambda: "NetDhcpLeaseLost" not in prometheus.alerts(), "the end of the alert", ALERT_SECONDS)

    for query in queries():
        assert prometheus.query(query), query
    texts = [(FILES / name).read_text() for name in ("alerts.yml", "dashboard.json")]
    for metric in sorted(set(METRIC.findall("".join(texts)))):
        assert prometheus.query(f"count_over_time({metric}[10m])"), metric

    container.remove()
    lab.engine.docker("network", "rm", "lan")


def kill_worker(plugin: Plugin) -> None:
    """Returns when there is a successor."""

    def worker() -> int:
        (view,) = plugin.get("/v1/endpoints")[1]["endpoints"]
        return view["worker_pid"] or 0

    pid = wait_until(worker, "a worker")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: worker() not in (0, pid), "its successor", 60)
