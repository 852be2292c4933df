"""The soak test's short form, in a laboratory of its own, as its engine is killed."""

import pytest

from tests.lab.build import PLUGIN
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.soak.gaps import T2
from tests.soak.plan import is_steady
from tests.soak.run import Settings, Soak
from tests.soak.verdict import story, unexplained

# Without disturbances of the LAN: in a minute they would leave no time in which nothing else is wrong.
SETTINGS = Settings(seconds=55, members=7, seed=4, longest_outage=15, lease_time=60, disturbs_lan=False)
STARTED = 5  # seconds after which an ACK is no longer the first lease's


@pytest.mark.timeout(480)
def test_no_gap_without_its_reason() -> None:
    """Some containers are used and some left alone, while the plugin, the engine and the server are disturbed, until a
    lease that is not renewed is past its T2."""
    with Lab.temporary("soak-smoke") as lab:
        soak = Soak(lab, Plugin.install(lab.engine, "net-dhcp:soak", PLUGIN), SETTINGS)
        found = soak.run()
        acks = lab.dhcp.messages(kind="ACK")
        assert unexplained(found) == [], story(soak.diary, found)
        assert len(soak.diary.operations) > SETTINGS.members
        assert soak.diary.faults
        steady = [p for p in soak.diary.presences if is_steady(int(p.container.rpartition("-")[2]))]
        assert steady
        for presence in steady:
            assert presence.span.seconds > T2 * SETTINGS.lease_time
            assert any(ack.mac == presence.mac and ack.time > presence.span.begin + STARTED for ack in acks), presence
