"""What the supervisor has a process for, by what it answers."""

from contextlib import closing
from ipaddress import IPv4Address, IPv4Interface
from multiprocessing import Pipe

import pytest

from workers.contract.client_identity import ClientIdentity
from workers.contract.exchange import Kind, note, packed
from workers.contract.lease import Family, Lease
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import Deleted, EndpointSpec
from workers.endpoint import worker
from workers.entry.jobs import give_back
from workers.system.alarm import Alarm
from workers.system.clock import boottime

MAC = "02:00:00:00:00:01"
SPEC = EndpointSpec("n", "e", LinkSpec(LinkKind.BRIDGE, "br0"), MAC, ClientIdentity.of_mac(MAC), 5.0)
LEASE = Lease(IPv4Interface("192.0.2.10/24"), IPv4Address("192.0.2.1"), 600, boottime())


@pytest.mark.parametrize("released", [True, False])
def test_answer_of_a_release(monkeypatch: pytest.MonkeyPatch, *, released: bool) -> None:
    """It is one message, which says what was not released; what went over the wire is not told."""

    def release(*_: object) -> bool:
        note(packed(Family.IPV4, Kind.RELEASE, sent=True))
        return released

    monkeypatch.setattr(worker, "release_from_host", release)
    monkeypatch.setattr(worker, "discard", lambda *_: None)
    ours, theirs = Pipe()
    with ours, theirs, closing(Alarm()) as alarm:
        monkeypatch.setattr(worker, "Alarm", lambda: alarm)
        give_back(SPEC, {Family.IPV4: LEASE}, theirs)
        assert ours.recv() == Deleted(frozenset() if released else frozenset({Family.IPV4}))
        assert not ours.poll()
