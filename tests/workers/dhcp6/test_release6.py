"""A DHCPv6 lease that is given back. The wire is played, and the machine is so busy that each look comes too late."""

import itertools
from types import TracebackType
from typing import Self

import pytest

from tests.netns.process.wire6 import Kind, Option, Packet
from tests.workers.dhcp6.client import IDENTITY, LEASE, MAC
from workers.contract.errors import ReleaseError
from workers.dhcp6 import codec
from workers.dhcp6 import release as module
from workers.dhcp6.codec import Answer
from workers.dhcp6.release import TRIES, release
from workers.dhcp6.router_advertisement import RouterAdvertisement

SERVER_MAC = "02:00:00:00:00:fe"


class PlayedSocket:
    """A server that answers at once, if it answers."""

    answers = True
    sent: list[Packet]

    def __init__(self, interface: str, mac: str) -> None:
        self._heard: list[Answer | RouterAdvertisement] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def fileno(self) -> int:
        """Of nothing."""
        return -1

    def send(self, payload: bytes) -> None:
        """The answer waits from now on."""
        packet = Packet.decode(payload)
        self.sent.append(packet)
        if self.answers:
            ids = [(int(Option.CLIENT_ID), IDENTITY.duid), (int(Option.SERVER_ID), LEASE.server)]
            self._heard.append(codec.decode(Packet(Kind.REPLY, packet.xid, ids).encode(), SERVER_MAC))

    def receive(self) -> list[Answer | RouterAdvertisement]:
        """All that came."""
        heard, self._heard = self._heard, []
        return heard


@pytest.fixture(autouse=True)
def _busy(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(LEASE.obtained)
    monkeypatch.setattr(PlayedSocket, "sent", [], raising=False)
    monkeypatch.setattr(module, "PacketSocket6", PlayedSocket)
    monkeypatch.setattr(module, "ready", lambda _, seconds: None)
    monkeypatch.setattr(module, "boottime", lambda: next(clock))


def test_answer_that_is_read_late() -> None:
    """It counts, and the server is told once."""
    release("eth0", MAC, LEASE, IDENTITY)
    assert [packet.kind for packet in PlayedSocket.sent] == [Kind.RELEASE]


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is told again in the same transaction, and then it is an error."""
    monkeypatch.setattr(PlayedSocket, "answers", False)
    with pytest.raises(ReleaseError, match=r"no REPLY in 0\.5 s \(2 RELEASE sent\)"):
        release("eth0", MAC, LEASE, IDENTITY)
    assert [packet.kind for packet in PlayedSocket.sent] == [Kind.RELEASE] * TRIES
    assert len({packet.xid for packet in PlayedSocket.sent}) == 1
