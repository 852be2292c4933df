"""A state and its descriptors arrive whole in another process's hands."""

import math
import os
import socket
from collections.abc import Iterator
from io import FileIO
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.supervisor.children import descriptors
from workers.endpoint.clients import Renewal
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
from workers.system.namespaces import current


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A near and a far one."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        yield near, far


class Thing:
    """Has a callback of its own, as the worker's parts have, and a descriptor twice."""

    def __init__(self, channel: Connection) -> None:
        self.channel = self.same = channel
        self.later = {self.act: 1.5}

    def act(self) -> str:
        """What the callback does."""
        return "acted"


TYPES: dict[str, object] = {f"{thing.__module__}.{thing.__qualname__}": thing for thing in (Thing, Alarm, getattr)}


def test_state_with_callbacks() -> None:
    """Bound methods, also as keys, are those of the state that was made again; what was one object is one."""
    ours, theirs = Pipe()
    with ours, theirs:
        state, numbers = pack(Thing(ours))
        assert numbers == [ours.fileno()]
        again = unpack(state, [os.dup(number) for number in numbers], TYPES)
        assert again.channel is again.same
        assert again.channel.fileno() != ours.fileno()
        (callback,) = again.later
        assert callback.__self__ is again
        assert callback() == "acted"
        assert again.later == {again.act: 1.5}
        again.channel.send("hello")
        assert theirs.recv() == "hello"
        again.channel.close()


def test_kinds_of_descriptors() -> None:
    """Sockets do not wait, pipes, timers and namespaces are what they were."""
    reader, writer = os.pipe()
    alarm, place = Alarm(), current()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    things = (FileIO(reader), FileIO(writer, "w"), alarm, place, datagrams)
    state, numbers = pack(things)
    read, write, timer, there, udp = again = unpack(state, [os.dup(number) for number in numbers], TYPES)
    write = FileIO(os.dup(write.fileno()), "w")
    write.write(b"x")
    assert read.read(1) == b"x"
    timer.set(1.0)  # long ago
    assert os.read(alarm.fileno(), 8)
    assert Path(f"/proc/self/fd/{there.fileno()}").readlink() == Path(f"/proc/self/fd/{place.fileno()}").readlink()
    with pytest.raises(BlockingIOError):
        udp.recv(1)
    for thing in (*things, *again, write):
        thing.close()


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


def test_type_that_is_not_listed() -> None:
    """It is named."""
    state, _ = pack(Path("/"))
    with pytest.raises(CannotHandOver, match=r"pathlib.*Path is not listed"):
        unpack(state, [], TYPES)


@pytest.mark.parametrize("unread", [b"", b"settled"])
def test_nothing_is_sent(ends: tuple[socket.socket, socket.socket], unread: bytes) -> None:
    """A turn that ends without a word leaves nothing, whether it has read everything or not."""
    near, far = ends
    if unread:
        near.send(unread)
    far.close()
    assert receive(near) is None
