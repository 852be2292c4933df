"""What is left to whoever sleeps, and what is not."""

from ipaddress import IPv4Address, IPv4Interface

from workers.keeper import Keeper
from workers.lease import Lease, boottime
from workers.messages import Attach, ConflictCheck, EndpointSpec, LeaseTrouble, Report, Trouble
from workers.renewal import Heard

ROUTER = IPv4Address("192.0.2.1")
SPEC = EndpointSpec("n" * 64, "e" * 64, "br0", "02:00:00:00:00:01", 10.0, conflict=ConflictCheck.OFF)
LEASE = Lease(IPv4Interface("192.0.2.10/24"), ROUTER, 600, boottime(), routers=(ROUTER,))


def test_lease_that_ran_out_in_a_suspend() -> None:
    """The next DHCPACK is looked at, although no silence has been told: the address may have been taken off."""
    reports: list[Report] = []
    keeper = Keeper(SPEC, LEASE, reports.append, {"ip": str(LEASE.address.ip), "lease": "600"})
    keeper.begin("eth0", Attach("/", None, ROUTER), 1500)
    assert keeper.expected(7, 8) is not None
    keeper.wake(Heard(renewed=(boottime() - 601, 0.0)))
    keeper.due()
    troubles = [report.kind for report in reports if isinstance(report, LeaseTrouble)]
    assert troubles == [Trouble.EXPIRED]
    assert keeper.expected(7, 8) is None
    keeper.end()
