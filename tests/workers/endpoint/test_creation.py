"""What becomes of leases where an endpoint's creation broke off; the kernel and the server are played."""

import errno
from contextlib import nullcontext
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from multiprocessing import Pipe
from typing import Any
from unittest.mock import MagicMock

import pytest

from workers.acd.probe import AddressProbe
from workers.contract.client_identity import ClientIdentity
from workers.contract.errors import NoLease
from workers.contract.lease import Family, Lease
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import CreateFailed, Delete, Deleted, EndpointSpec
from workers.dhcp.first_lease import Acquired
from workers.dhcp4.first_lease import Exchange4
from workers.dhcp4.machine import State
from workers.endpoint import creation as module
from workers.endpoint.creation import Creation
from workers.system.clock import boottime

MAC = "02:00:00:00:00:01"
SERVER = IPv4Address("192.0.2.1")
REMEMBERED, OTHER = (Lease(IPv4Interface(f"192.0.2.{host}/24"), SERVER, 86_400, boottime()) for host in (10, 20))
SPEC = EndpointSpec(
    "n", "e", LinkSpec(LinkKind.BRIDGE, "br0"), MAC, ClientIdentity.of_mac(MAC), 5.0, remembered=REMEMBERED
)


class Server:
    """What it has leased to this MAC, what came back, and whether a RELEASE finds its way."""

    def __init__(self) -> None:
        self.leased: Lease | None = OTHER
        self.reachable = True
        self.released: list[Lease] = []

    def acquire(
        self, spec: EndpointSpec, exchanges: dict[Family, Exchange4], _: object
    ) -> dict[Family, Acquired[Lease]]:
        """A DISCOVER, which brings what it has leased."""
        assert exchanges[Family.IPV4].machine.state is State.INIT
        assert spec.requested is None
        if self.leased is None:
            raise NoLease("no DHCPOFFER")
        exchanges[Family.IPV4].machine.hold(self.leased, boottime(), confirm=False)
        return {Family.IPV4: Acquired(self.leased, confirmed=True, probe=AddressProbe(MAC, enabled=False))}

    def release(self, _: EndpointSpec, __: object, lease: Lease) -> bool:
        """A RELEASE from the host's side."""
        self.released.append(lease)
        return self.reachable


@pytest.fixture(name="server")
def _server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    for name in ("Netlink", "PacketSocket"):
        monkeypatch.setattr(module, name, lambda *_: nullcontext(MagicMock()))
    monkeypatch.setattr(module, "link_of", MagicMock())
    monkeypatch.setattr(module, "discard", MagicMock())
    monkeypatch.setattr(module, "acquire", server.acquire)
    monkeypatch.setattr(module, "release_from_host", server.release)
    return server


def reclaimed() -> Any:  # noqa: ANN401  whatever is reported
    """What is said after a worker that died in its creation."""
    ours, theirs = Pipe()
    with ours, theirs:
        ours.send(Delete())
        Creation(SPEC, theirs).reclaim()
        return ours.recv()


def test_reclaim_beside_a_remembered_lease(server: Server) -> None:
    """What the worker that died had been granted in its place goes back."""
    assert reclaimed() == Deleted()
    assert server.released == [OTHER]


@pytest.mark.parametrize("leased", [REMEMBERED, None])
def test_reclaim_leaves_the_remembered_lease(server: Server, leased: Lease | None) -> None:
    """The lease that waits for its container is not given back."""
    server.leased = leased
    assert reclaimed() == Deleted()
    assert not server.released


def test_reclaimed_lease_that_cannot_be_released(server: Server) -> None:
    """The supervisor learns of it, and of the remembered one, which both wait from now on."""
    server.reachable = False
    report = reclaimed()
    assert isinstance(report, CreateFailed)
    assert report.unreleased == (REMEMBERED, OTHER)


def test_lease_of_a_family_that_was_the_faster_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the link goes while the other family still waits, the lease that was granted already goes back."""

    def acquire(*asked: Any) -> dict[Family, Acquired[Lease]]:  # noqa: ANN401  as it is called
        server.acquire(*asked)
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(module, "acquire", acquire)
    ours, theirs = Pipe()
    with ours, theirs:
        assert Creation(replace(SPEC, remembered=None), theirs).make() is None
        report = ours.recv()
    assert isinstance(report, CreateFailed)
    assert "cannot be used any more: No such device" in report.reason
    assert server.released == [OTHER]
