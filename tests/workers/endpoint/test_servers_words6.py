"""What a lease manager makes of a DHCPv6 server's words; the client, the link and the wire are played."""

import socket
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Interface
from typing import cast

import pytest

from tests.workers.dhcp6.client import ADDRESS, ANOTHER, IDENTITY, LEASE, MAC
from workers.contract.lease import Lease6
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import Attach, ConflictCheck, EndpointSpec, Ipv6, Report
from workers.dhcp.effects import Granted, Refused
from workers.dhcp6.machine import Effect, Machine
from workers.endpoint import lease_manager6 as module
from workers.endpoint.lease_manager6 import DECLINED_PAUSE_SECONDS, ENGINE_SECONDS, LeaseManager6
from workers.system.clock import boottime

SPEC = EndpointSpec("n", "e", LinkSpec(LinkKind.BRIDGE, "br0"), MAC, IDENTITY, 5.0, ipv6=Ipv6.DHCP)
STRANGER = "02:00:00:00:00:99"
ADVERTISED = replace(LEASE, server=b"", slaac=True)


@dataclass
class Link:
    """The link in the sandbox; `calls` are what was done to it."""

    there: bool = True
    calls: list[str] = field(default_factory=list)

    def prepare(self, _: str, *, slaac: bool) -> None:
        """Nothing to be seen."""

    def route_at_first(self, _: str, __: Lease6) -> None:
        """Nothing to be seen."""

    def put(self, *_: object, **__: object) -> bool:
        self.there = True
        self.calls.append("put")
        return True

    def has(self, *_: object) -> bool:
        return self.there

    def drop(self, *_: object) -> None:
        self.there = False
        self.calls.append("drop")


@dataclass
class PlayedClient:
    """It says `words` when it is read."""

    interface: str
    machine: Machine
    words: list[Effect] = field(default_factory=list)
    sender: str = ""
    next_at: float | None = None

    def sources(self) -> list[int]:
        return []

    def read(self) -> list[Effect]:
        return self.words

    def moved(self) -> None:
        """The link was down."""

    def close(self) -> None:
        """Nothing is open."""


def begun(
    monkeypatch: pytest.MonkeyPatch,
    *,
    drop: bool,
    claimant: str | None = None,
    spec: EndpointSpec = SPEC,
    lease: Lease6 = LEASE,
) -> tuple[LeaseManager6, Link]:
    """A manager whose container has just started; `claimant` has claimed its address before that."""
    link = Link()
    monkeypatch.setattr(module, "NativeClient6", PlayedClient)
    monkeypatch.setattr(module, "Placement6", lambda *_, **__: link)
    monkeypatch.setattr(module, "decline", lambda *_: None)
    reports: list[Report] = []
    manager = LeaseManager6(
        replace(spec, drop_expired=drop), replace(lease, obtained=boottime()), reports.append, confirmed=True
    )
    if claimant is not None:
        manager.on_conflict(claimant)
    manager.begin("eth0", Attach("/run/netns/x", None, None), 1500)
    return manager, link


def hear(manager: LeaseManager6, *words: Effect) -> PlayedClient:
    """The client's words."""
    client = cast(PlayedClient, manager._client)
    client.words = list(words)
    manager._on_answer()
    return client


@pytest.mark.parametrize("drop", [True, False])
def test_refused(monkeypatch: pytest.MonkeyPatch, drop: bool) -> None:
    """With `expired=drop` a refused address leaves the link, and stays away when the link comes back; else it stays."""
    manager, link = begun(monkeypatch, drop=drop)
    hear(manager, Refused("NoBinding"))
    assert link.there != drop
    link.there = False
    manager.check()
    assert link.there != drop
    manager.end()


def test_address_in_use_is_not_probed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `expired=keep` an address that is on the link after its lease's end is granted anew without a probe, which a
    forger could answer."""
    manager, link = begun(monkeypatch, drop=False)
    manager.lease = replace(LEASE, obtained=boottime() - 2 * (LEASE.duration or 0))
    renewed = replace(LEASE, obtained=boottime())
    hear(manager, Granted(renewed, fresh=True))
    assert (manager.lease, link.calls[-1]) == (renewed, "put")
    manager.end()


def test_pause_between_two_declines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever claims each address that is offered costs the server one of them in ten seconds."""
    manager, _ = begun(monkeypatch, drop=False)
    for waits in (False, True):
        manager._decline(LEASE, STRANGER)
        machine = cast(PlayedClient, manager._client).machine
        assert machine.next_at is not None
        assert (machine.next_at > boottime() + DECLINED_PAUSE_SECONDS / 2) == waits
        assert machine.requested != ADDRESS
    manager.end()


def test_address_stays_until_the_engine_has_announced_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim of the address that the engine has just set is mended, but the start, which ends with an advertisement
    from that address, does not fail: another one takes its place only when the engine has had the time."""
    spec = replace(SPEC, conflict=ConflictCheck.OFF)  # no wire: the other address is not probed for
    manager, link = begun(monkeypatch, drop=False, claimant=STRANGER, spec=spec)
    another = replace(LEASE, address=IPv6Interface(ANOTHER), obtained=boottime())
    hear(manager, Granted(another, fresh=True))
    assert manager.lease is not None
    assert (manager.lease.address.ip, link.calls) == (ADDRESS, ["put"])

    soon = boottime() + ENGINE_SECONDS
    monkeypatch.setattr(module, "boottime", lambda: soon)
    manager.due()
    assert (manager.lease, link.calls) == (another, ["put", "put"])
    manager.end()


def test_asked_while_another_address_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the way to the servers opens after a Decline, the declined address is not asked for; and if another one was
    granted already, that grant holds."""
    spec = replace(SPEC, conflict=ConflictCheck.OFF)  # no wire: the other address is not probed for
    manager, _ = begun(monkeypatch, drop=False, claimant=STRANGER, spec=spec)

    manager.ask()
    assert cast(PlayedClient, manager._client).machine.requested is None

    client = hear(manager, Granted(replace(LEASE, address=IPv6Interface(ANOTHER), obtained=boottime()), fresh=True))
    manager.ask()
    assert manager._client is cast(object, client)
    manager.end()


def test_claim_of_an_advertised_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was made of a router's prefix has no server: a late answer to its probe, which a router that proxies NDP
    gives, is no Decline, and does not make the container ask for a lease."""
    declined: list[object] = []
    monkeypatch.setattr(LeaseManager6, "_decline", lambda *words: declined.append(words))
    feed, other = socket.socketpair()
    feed.setblocking(False)
    monkeypatch.setattr(module, "change_feed", lambda _: feed)
    monkeypatch.setattr(module, "kernel_lease", lambda *_, **__: None)

    with other:
        manager, _ = begun(monkeypatch, drop=False, claimant=STRANGER, lease=ADVERTISED)
        assert (declined, manager._client) == ([], None)
        assert feed.fileno() in manager.sources()
        manager.end()
