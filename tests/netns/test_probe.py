"""What CreateNetwork learns of a bridge."""

import pytest

from tests.lab.network import BRIDGE
from tests.netns.lan import run
from workers.diagnosis.bridge_report import BridgeReport, probe_bridge

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("machine")]


def test_good_bridge() -> None:
    """Neither error nor warning."""
    assert probe_bridge(BRIDGE) == BridgeReport(error=None)


def test_bridge_with_an_obstacle() -> None:
    """A warning is no refusal."""
    run("ip link set up1 down")

    report = probe_bridge(BRIDGE)

    assert report.error is None
    assert "carrier" in report.warnings[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [("absent", "absent: there is none of that name"), ("lo", "lo is a hardware link"), ("up0", "up0 is a veth link")],
)
def test_no_bridge(name: str, words: str) -> None:
    """The error names the link and says what it is."""
    report = probe_bridge(name)

    assert report.error is not None
    assert words in report.error
