"""The power fails while sixteen containers run: who differs is itself after the boot, and nobody is another one.

BOOTS is how many times.
"""

import os

import pytest

from tests.boot.members import Members
from tests.lab.dhcp import Ipv6Options, ServerOptions
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.machine import Machine

BOOTS = int(os.environ.get("BOOTS") or "1")
EACH = 8
LEASES = ServerOptions(lease_time=600, ipv6=Ipv6Options(lease_time=600))


@pytest.mark.timeout(1800 + 900 * BOOTS)
def test_many_at_a_boot(lab: Lab, machine: Machine, members: Members) -> None:
    """Eight that expose different ports keep MAC and both addresses; eight that are alike have their own MAC address or
    a new one, never another's."""
    lab.dhcp.start(LEASES)
    members.launch(EACH)
    members.launch_alike(EACH)
    owners = {place.mac: name for name, place in members.places.items()}
    for number in range(1, BOOTS + 1):
        # The engine does not flush what it writes about a container: one that has just been made may be lost by a cut.
        machine.docker("run", "--rm", "--network=none", BUSYBOX, "sync")
        machine.cut()
        machine.switch_on()
        machine.wait()
        members.await_running()
        found = members.now()
        same = {name for name, place in found.items() if place == members.places[name]}
        print(
            f"boot {number}: of {EACH} alike ones {sum(n.startswith('alike') for n in same)} are the same", flush=True
        )
        assert {name for name in found if name.startswith("member")} <= same
        for name, place in found.items():
            assert owners.setdefault(place.mac, name) == name
