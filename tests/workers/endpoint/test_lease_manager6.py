"""What an IPv6 lease manager makes of a search in the sandbox; the search, the link and the wire are played."""

import math
from dataclasses import dataclass, field, replace
from io import BytesIO
from ipaddress import IPv6Interface

import pytest

from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Lease6
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import Attach, EndpointSpec, Ipv6, LeaseObtained, Report
from workers.dhcp.first_lease import Acquired
from workers.endpoint import lease_manager6 as module
from workers.endpoint.lease_manager6 import RETRY_SECONDS, LeaseManager6
from workers.system.clock import boottime

MAC = "02:00:00:00:00:01"
SPEC = EndpointSpec("n", "e", LinkSpec(LinkKind.BRIDGE, "br0"), MAC, ClientIdentity.of_mac(MAC), 5.0, ipv6=Ipv6.DHCP)
ATTACH = Attach("/run/netns/x", None, None)


@dataclass
class Played:
    """The wire, the link and each search of it, which a server answers at once. `refuses`: the kernel, the address."""

    searches: list["PlayedSearch"] = field(default_factory=list)
    refuses: bool = True

    def search(self, *_: object) -> "PlayedSearch":
        made = PlayedSearch()
        self.searches.append(made)
        return made


class PlayedSearch:
    """Ends with its first step."""

    next_at = 0.0
    packet_socket = BytesIO()
    acquired: Acquired[Lease6] | None = None

    def sources(self) -> list[int]:
        return []

    def step(self, now: float) -> None:
        lease = Lease6(IPv6Interface("fd00::7/128"), b"server", 600, now, 600)
        self.acquired = Acquired(lease, True, PlayedPart())  # type: ignore[arg-type]

    def release_others(self) -> None:
        """There are none."""

    def close(self) -> None:
        """Nothing is open."""


class PlayedPart:
    """A socket, a client or a probe with nothing to do."""

    next_at = math.inf

    def __init__(self, *_: object) -> None:
        pass

    def sources(self) -> list[int]:
        return []

    def forget(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played()
    monkeypatch.setattr(module, "Exchange6", played.search)
    monkeypatch.setattr(module, "PacketSocket6", PlayedPart)
    monkeypatch.setattr(module, "NativeClient6", PlayedPart)
    monkeypatch.setattr("workers.link.placement6.Placement6.prepare", lambda *_, **__: None)
    monkeypatch.setattr("workers.link.placement6.Placement6.put", lambda *_, **__: not played.refuses)
    return played


def test_address_that_the_kernel_refuses(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search rests for five seconds before it asks the server again; then the address is taken."""
    reports: list[Report] = []
    manager = LeaseManager6(SPEC, None, reports.append, confirmed=True)
    manager.begin("eth0", ATTACH, 1500)
    manager.due()
    ended = boottime()
    assert (len(played.searches), manager.lease) == (1, None)
    assert manager.next_at is not None
    assert ended + RETRY_SECONDS - 1 < manager.next_at <= ended + RETRY_SECONDS

    played.refuses = False
    monkeypatch.setattr(module, "boottime", lambda: ended + RETRY_SECONDS)
    manager.due()
    manager.due()
    assert len(played.searches) == 2
    assert manager.lease is not None
    assert LeaseObtained(manager.lease) in reports
    manager.end()


@pytest.mark.parametrize(("drop", "put"), [(False, 1), (True, 0)])
def test_lease_that_ended_while_nobody_looked(
    played: Played, monkeypatch: pytest.MonkeyPatch, drop: bool, put: int
) -> None:
    """A worker that comes after the end of the lease puts the address back, which the kernel has taken off, unless
    `expired=drop`."""
    calls: list[object] = []

    def noted(*words: object, **_: object) -> bool:
        calls.append(words)
        return True

    monkeypatch.setattr("workers.link.placement6.Placement6.put", noted)
    ended = Lease6(IPv6Interface("fd00::7/128"), b"server", 600, boottime() - 700, 600)
    manager = LeaseManager6(replace(SPEC, drop_expired=drop), ended, lambda _: None, confirmed=False)
    manager.begin("eth0", ATTACH, 1500)
    assert len(calls) == put
    manager.end()
