"""A state and its descriptors arrive whole in another process's hands."""

import math
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from ipaddress import IPv6Interface
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from msgspec import msgpack

from tests.supervisor.children import descriptors
from workers.endpoint.clients import Renewal
from workers.endpoint.lease_timers import LeaseTimers
from workers.entry import handover
from workers.entry.handover import (
    MAX_DESCRIPTORS,
    MAX_ENDED,
    MAX_STATE_BYTES,
    CannotHandOver,
    Rest,
    pack,
    receive,
    send,
    unpack,
)
from workers.system.alarm import Alarm
from workers.system.namespaces import Namespace, current


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A near and a far one."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        yield near, far


@dataclass
class Things:
    """One descriptor of each kind, and a callback that stays behind."""

    channel: Connection
    reader: FileIO
    writer: FileIO
    alarm: Alarm
    place: Namespace
    datagrams: socket.socket
    address: IPv6Interface

    def bind(self, act: Callable[[], None]) -> None:
        self.act = act


def test_descriptors() -> None:
    """Sockets do not wait, all else is what it was; a callback is not handed over."""
    reader, writer = os.pipe()
    ours, theirs = Pipe()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    things = Things(
        *(ours, FileIO(reader), FileIO(writer, "w"), Alarm(), current(), datagrams),
        IPv6Interface("2001:db8::7/64"),
    )
    things.bind(things.alarm.close)
    state, numbers = pack(things)
    kept = (things.channel, things.reader, things.writer, things.alarm, things.place, things.datagrams)
    assert numbers == [one.fileno() for one in kept]
    again = unpack(state, [os.dup(number) for number in numbers], Things)
    assert not hasattr(again, "act")
    assert again.address == things.address
    again.channel.send("hello")
    assert theirs.recv() == "hello"
    os.write(again.writer.fileno(), b"x")
    assert again.reader.read(1) == b"x"
    again.alarm.set(1.0)  # long ago
    assert os.read(things.alarm.fileno(), 8)
    places = [Path(f"/proc/self/fd/{one.place.fileno()}").readlink() for one in (things, again)]
    assert places[0] == places[1]
    with pytest.raises(BlockingIOError):
        again.datagrams.recv(1)
    for one in (things, again):
        for thing in (one.channel, one.reader, one.writer, one.alarm, one.place, one.datagrams):
            thing.close()
    theirs.close()


def test_rest_is_sent(ends: tuple[socket.socket, socket.socket]) -> None:
    """All of it arrives, with descriptors that are the receiver's own and are not inherited by a program."""
    near, far = ends
    before = descriptors()
    reader, writer = os.pipe()
    with current() as place:
        numbers = [writer, reader]
        send(Rest("nd-0123456789ab", b"state\0", numbers, [reader], None, [7, 8], place.fileno(), far.fileno()))
    rest = receive(near)
    assert rest is not None
    assert (rest.name, rest.state, rest.ended) == ("nd-0123456789ab", b"state\0", [7, 8])
    assert rest.watched == [rest.numbers[1]]
    os.close(reader)
    os.write(rest.numbers[0], b"x")
    assert os.read(rest.numbers[1], 1) == b"x"
    assert not any(os.get_inheritable(number) for number in (*rest.numbers, rest.place, rest.far))
    send(Rest("", b"", [], [], None, [], rest.place, rest.far))  # the next turn's
    following = receive(near)
    assert following is not None
    for number in (writer, *rest.numbers, rest.place, rest.far, following.place, following.far):
        os.close(number)
    assert descriptors() == before


def test_expected_renewal(ends: tuple[socket.socket, socket.socket]) -> None:
    """What is expected of udhcpc arrives with the receiver's descriptors."""
    near, far = ends
    numbers = [os.eventfd(number) for number in range(4)]
    events, log, channel, alarm = numbers
    expected = Renewal(b"renew\0\0", 61.5, events, log, math.inf, channel, alarm)
    send(Rest("", b"state", numbers[::-1], [], expected, [9], far.fileno(), far.fileno()))
    rest = receive(near)
    assert rest is not None
    assert (rest.state, rest.ended) == (b"state", [9])
    events, log, channel, alarm = rest.numbers[::-1]
    assert rest.expected == Renewal(b"renew\0\0", 61.5, events, log, math.inf, channel, alarm)
    for number in (*numbers, *rest.numbers, rest.place, rest.far):
        os.close(number)


def test_largest(ends: tuple[socket.socket, socket.socket]) -> None:
    """The most that may be packed arrives; the sockets have room for it."""
    near, far = ends
    number = far.fileno()
    watched, ended = [number] * MAX_DESCRIPTORS, list(range(MAX_ENDED))
    state = bytes(MAX_STATE_BYTES)
    send(Rest("nd-0123456789ab", state, [number] * MAX_DESCRIPTORS, watched, None, ended, number, number))
    rest = receive(near)
    assert rest is not None
    assert (rest.state, len(rest.numbers), rest.ended) == (state, MAX_DESCRIPTORS, ended)
    for given in (*rest.numbers, rest.place, rest.far):
        os.close(given)


@pytest.mark.parametrize("state", [bytes(MAX_STATE_BYTES), [FileIO(0, closefd=False) for _ in range(2)]], ids=type)
def test_too_large(state: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused when it is packed."""
    monkeypatch.setattr(handover, "MAX_DESCRIPTORS", 0)
    with pytest.raises(CannotHandOver, match="too large for the next turn"):
        pack(state)


@pytest.mark.parametrize("limit", ["MAX_BYTES", "ANCILLARY_BYTES"])
def test_truncated(ends: tuple[socket.socket, socket.socket], limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message of which a part is missing is not taken for a whole one."""
    near, far = ends
    numbers = [far.fileno()] * 9
    send(Rest("", bytes(1000), numbers, [], None, [], far.fileno(), far.fileno()))
    monkeypatch.setattr(handover, limit, socket.CMSG_SPACE(4))
    with pytest.raises(CannotHandOver, match="does not fit"):
        receive(near)


def test_other_version(ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused."""
    near, far = ends
    send(Rest("", b"", [], [], None, [], far.fileno(), far.fileno()))
    monkeypatch.setattr(handover, "VERSION", 2)
    with pytest.raises(CannotHandOver, match="version 1, not 2"):
        receive(near)


def test_type_that_is_not_known() -> None:
    """It is named."""
    with pytest.raises(CannotHandOver, match="PosixPath cannot be handed"):
        pack(Path("/"))


@pytest.mark.parametrize("change", [{"silent": 1}, {"_at": None}, None], ids=str)
def test_not_what_was_expected(change: dict[str, object] | None) -> None:
    """A field of another type is refused, and so is something else altogether."""
    state = msgpack.encode(change and vars(LeaseTimers()) | change)
    with pytest.raises(CannotHandOver, match="no LeaseTimers"):
        unpack(state, [], LeaseTimers)


@pytest.mark.parametrize("unread", [b"", b"settled"])
def test_nothing_is_sent(ends: tuple[socket.socket, socket.socket], unread: bytes) -> None:
    """A turn that ends without a word leaves nothing, whether it has read everything or not."""
    near, far = ends
    if unread:
        near.send(unread)
    far.close()
    assert receive(near) is None
