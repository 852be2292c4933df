"""The soak test's short form, in a laboratory of its own, as its engine is killed."""

import pytest

from tests.lab.build import PLUGIN
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.soak.run import Settings, Soak
from tests.soak.verdict import story, unexplained

SETTINGS = Settings(seconds=50, members=7, seed=4, longest_outage=15)


@pytest.mark.timeout(240)
def test_no_gap_without_its_reason() -> None:
    """Some containers are used and some left alone, while the plugin, the engine and the server are disturbed."""
    with Lab.temporary("soak-smoke") as lab:
        soak = Soak(lab, Plugin.install(lab.engine, "net-dhcp:soak", PLUGIN), SETTINGS)
        found = soak.run()
    assert unexplained(found) == [], story(soak.diary, found)
    assert len(soak.diary.operations) > SETTINGS.members
    assert soak.diary.faults
