"""How one process leaves its state to another one: as bytes in one message, with the descriptors that belong to it.

The state is a worker as it is, pickled, but of no other types than `workers.entry.state` lists: one record of plain
fields would have to be put together and taken apart for each of some twenty parts that hold callbacks or descriptors.
Owns the message, its version and its limits. Must not know what the state is.
"""

import os
import pickle
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO, FileIO
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from workers.dhcp4.udhcpc import MAX_GRANTED_BYTES
from workers.endpoint.clients import Renewal
from workers.system.namespaces import Namespace


def _socket(number: int) -> socket.socket:
    made = socket.socket(fileno=number)
    made.setblocking(False)  # as all of a worker's are
    return made


MAKERS: dict[type, Callable[[int], Any]] = {
    Connection: Connection,
    FileIO: FileIO,
    Namespace: Namespace,
    socket.socket: _socket,
}
KINDS = tuple(MAKERS)

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
    """The state is too large, of a type that is not known, or has not arrived whole; the text says which."""


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
    """The state and the numbers of its descriptors; which is which is their order. Raises CannotHandOver."""
    packed = BytesIO()
    packer = _Packer(packed)
    packer.dump(state)
    if packed.tell() > MAX_STATE_BYTES or len(packer.numbers) > MAX_DESCRIPTORS:
        what = f"{packed.tell()} bytes and {len(packer.numbers)} descriptors"
        raise CannotHandOver(f"a state of {what} is too large for the next turn")
    return packed.getvalue(), list(packer.numbers)


def unpack(packed: bytes, numbers: Sequence[int], types: Mapping[str, object]) -> Any:  # noqa: ANN401  what was packed
    """The state again, with descriptors that are `numbers` here. Raises CannotHandOver.

    `types` has all that it may consist of, by "module.name".
    """
    return _Unpacker(packed, numbers, types).load()


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


class _Packer(pickle.Pickler):
    def __init__(self, into: BytesIO) -> None:
        super().__init__(into, pickle.HIGHEST_PROTOCOL)
        self.numbers: dict[int, int] = {}

    def persistent_id(self, thing: Any) -> tuple[int, int] | None:  # noqa: ANN401  pickle's
        if type(thing) not in MAKERS:
            return None
        return KINDS.index(type(thing)), self.numbers.setdefault(thing.fileno(), len(self.numbers))


class _Unpacker(pickle.Unpickler):
    def __init__(self, packed: bytes, numbers: Sequence[int], types: Mapping[str, object]) -> None:
        super().__init__(BytesIO(packed))
        self._types = types
        self._numbers = numbers
        self._made: dict[int, object] = {}

    def persistent_load(self, name: tuple[int, int]) -> object:
        kind, index = name
        if index not in self._made:
            self._made[index] = MAKERS[KINDS[kind]](self._numbers[index])
        return self._made[index]

    def find_class(self, module: str, name: str) -> object:
        try:
            return self._types[f"{module}.{name}"]
        except KeyError:
            raise CannotHandOver(f"{module}.{name} is not listed in workers.entry.state") from None
