"""The machine sleeps (S3), as laptops and desktops do, and its clocks stand still: containers keep their addresses."""

import time

import pytest

from tests.boot.members import Members
from tests.lab.dhcp import Ipv6Options, ServerOptions
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.machine import Machine

LEASES = ServerOptions(lease_time=180, ipv6=Ipv6Options(lease_time=180))  # T1 is at 90 s
MEMBERS = 2


@pytest.mark.parametrize("seconds", [pytest.param(95, id="past T1"), pytest.param(190, id="past the end")])
@pytest.mark.timeout(1800)
def test_suspend(lab: Lab, machine: Machine, members: Members, seconds: float) -> None:
    """Each container's lease is renewed, or asked for again, after the machine wakes; its address has not changed."""
    lab.dhcp.start(LEASES)
    members.launch(MEMBERS)

    with machine.suspended(BUSYBOX):
        time.sleep(seconds)
        members.begin()
    members.await_acknowledged()

    members.await_running()
    members.assert_kept()
    members.remove()
