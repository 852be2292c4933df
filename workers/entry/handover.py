"""How one process leaves its state to another one: as bytes in one message, with the descriptors that belong to it.

The state is a tree of dataclasses, as msgspec writes it and, checked by their types, reads it; a descriptor is in there
as its index among those of the message. Owns the message, its version and its limits. Must not know what the state is.
"""

import os
import socket
import struct
from collections.abc import Callable, Sequence
from io import FileIO
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeVar

from msgspec import MsgspecError, msgpack

from workers.dhcp4.udhcpc import MAX_GRANTED_BYTES
from workers.endpoint.clients import Renewal
from workers.system.namespaces import Namespace


def _socket(number: int) -> socket.socket:
    made = socket.socket(fileno=number)
    made.setblocking(False)  # as all of a worker's are
    return made


T = TypeVar("T")
MAKERS: dict[type, Callable[[int], Any]] = {
    Connection: Connection,
    FileIO: FileIO,
    Namespace: Namespace,
    socket.socket: _socket,
}
ADDRESSES = (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)

VERSION = 1  # of the message and of what it holds
# The version, the name, how many descriptors are watched, how many children ended, and of the expected renewal the
# length of its words, two times, and its descriptors.
HEADER = struct.Struct("=B16sBBHdd4B")
MAX_STATE_BYTES = 1 << 17  # a socket has room for it; the largest state that servers can cause is smaller
MAX_DESCRIPTORS = 32
MAX_ENDED = 255
MAX_BYTES = HEADER.size + MAX_DESCRIPTORS + 4 * MAX_ENDED + MAX_GRANTED_BYTES + MAX_STATE_BYTES
ANCILLARY_BYTES = socket.CMSG_SPACE(4 * (MAX_DESCRIPTORS + 2))


class CannotHandOver(Exception):
    """The state is too large, is not what was to be expected, or has not arrived whole; the text says which."""


class Rest(NamedTuple):
    """What a turn leaves: its state and the state's descriptors, of which `watched` wake the next one.

    `ended` are the children whose exit statuses nobody needs. `place` is a descriptor of the network namespace that it
    was in, `far` of the socket that it was sent by, for the next one.
    """

    name: str
    state: bytes
    numbers: list[int]
    watched: list[int]
    expected: Renewal | None
    ended: list[int]
    place: int
    far: int


def pack(state: object) -> tuple[bytes, list[int]]:
    """The state and the numbers of its descriptors, in the order of their indices. Raises CannotHandOver."""
    numbers: list[int] = []

    def write(thing: Any) -> int | str | bytes:  # noqa: ANN401  msgspec's
        if type(thing) in MAKERS:
            numbers.append(thing.fileno())
            return len(numbers) - 1
        if type(thing) in (IPv4Address, IPv6Address):
            return bytes(thing.packed)
        if type(thing) in ADDRESSES:
            return str(thing)
        raise CannotHandOver(f"a {type(thing).__name__} cannot be handed to the next turn")

    packed = msgpack.encode(state, enc_hook=write)
    if len(packed) > MAX_STATE_BYTES or len(numbers) > MAX_DESCRIPTORS:
        what = f"{len(packed)} bytes and {len(numbers)} descriptors"
        raise CannotHandOver(f"a state of {what} is too large for the next turn")
    return packed, numbers


def unpack(packed: bytes, numbers: Sequence[int], kind: type[T]) -> T:
    """The state of this kind again, with descriptors that are `numbers` here. Raises CannotHandOver."""

    def read(wanted: type, written: Any) -> object:  # noqa: ANN401  msgspec's
        return MAKERS[wanted](numbers[written]) if wanted in MAKERS else wanted(written)

    try:
        return msgpack.decode(packed, type=kind, dec_hook=read)
    except MsgspecError as error:
        raise CannotHandOver(f"what a turn left is no {kind.__name__}: {error}") from error


def send(rest: Rest) -> None:
    """To the process that receives at the near end, which has the descriptors as well from then on. Raises OSError."""
    watched, ended = len(rest.watched), len(rest.ended)
    words, times, which = b"", (0.0, 0.0), [0, 0, 0, 0]
    if rest.expected is not None:
        words, seconds, events, log, other_at, channel, alarm = rest.expected
        times, which = (seconds, other_at), [rest.numbers.index(number) for number in (events, log, channel, alarm)]
    parts = [
        HEADER.pack(VERSION, rest.name.encode(), watched, ended, len(words), *times, *which),
        bytes(map(rest.numbers.index, rest.watched)),
        struct.pack(f"={ended}i", *rest.ended),
        words,
        rest.state,
    ]
    with socket.socket(fileno=os.dup(rest.far)) as far:
        socket.send_fds(far, parts, [*rest.numbers, rest.place, rest.far])


def receive(near: socket.SocketType) -> Rest | None:
    """What was sent; None where the far end has been closed instead. Raises CannotHandOver where a part is missing.

    The bare socket type, and no `recv_fds`: to run the socket module's Python costs a process that sleeps 100 kB.
    """
    try:
        message, ancillary, flags, _ = near.recvmsg(MAX_BYTES, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # closed before our last word was read, as by a udhcpc that is ended before it begins
        return None
    if not message:
        return None
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise CannotHandOver(f"what a turn left does not fit into {MAX_BYTES} bytes and {MAX_DESCRIPTORS} descriptors")
    *numbers, place, far = memoryview(ancillary[0][2]).cast("i")
    version, name, watched, ended, words, seconds, other_at, *which = HEADER.unpack_from(message)
    if version != VERSION:
        raise CannotHandOver(f"what a turn left is of version {version}, not {VERSION}")
    pids = HEADER.size + watched
    said = pids + 4 * ended
    state = said + words
    expected = None
    if words:
        events, log, channel, alarm = [numbers[index] for index in which]
        expected = Renewal(message[said:state], seconds, events, log, other_at, channel, alarm)
    return Rest(
        name.rstrip(b"\0").decode(),
        message[state:],
        numbers,
        [numbers[index] for index in message[HEADER.size : pids]],
        expected,
        list(memoryview(message)[pids:said].cast("i")),
        place,
        far,
    )
