"""What one process leaves and another one goes on with: a state as bytes, and the descriptors that belong to it.

Owns how things that have a descriptor are found in the state, sent, and made again. Must not know what the state is.
"""

import os
import pickle
import socket
import struct
from collections.abc import Callable, Sequence
from io import BytesIO, FileIO
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

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


HEADER = struct.Struct("=16sBB")  # the name; how many are waited on, and have ended
MAX_BYTES = 1 << 16
ANCILLARY_BYTES = socket.CMSG_SPACE(4 * 32)


class Rest(NamedTuple):
    """What a turn leaves: its state and the state's descriptors, of which `watched` wake the next one.

    `ended` are the children whose exit statuses nobody needs. `place` is a descriptor of the network namespace that it
    was in, `far` of the socket that it was sent by, for the next one.
    """

    name: str
    state: bytes
    numbers: list[int]
    watched: list[int]
    ended: list[int]
    place: int
    far: int


def pack(state: object) -> tuple[bytes, list[int]]:
    """The state and the numbers of its descriptors; which is which is their order."""
    packed = BytesIO()
    packer = _Packer(packed)
    packer.dump(state)
    return packed.getvalue(), list(packer.numbers)


def unpack(packed: bytes, numbers: Sequence[int]) -> Any:  # noqa: ANN401  whatever was packed
    """The state again, with descriptors that are `numbers` here."""
    return _Unpacker(packed, numbers).load()


def send(rest: Rest) -> None:
    """To whoever receives it at the near end: the descriptors are theirs, too, from then on. Raises OSError."""
    watched, ended = len(rest.watched), len(rest.ended)
    parts = [
        HEADER.pack(rest.name.encode(), watched, ended),
        bytes(map(rest.numbers.index, rest.watched)),
        struct.pack(f"={ended}i", *rest.ended),
        rest.state,
    ]
    with socket.socket(fileno=os.dup(rest.far)) as far:
        socket.send_fds(far, parts, [*rest.numbers, rest.place, rest.far])


def receive(near: socket.SocketType) -> Rest | None:
    """What was sent; None where the far end has been closed instead.

    The bare socket type, and no `recv_fds`: to run the socket module's Python costs whoever sleeps some 100 kB.
    """
    message, ancillary, _, _ = near.recvmsg(MAX_BYTES, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
    if not message:
        return None
    *numbers, place, far = memoryview(ancillary[0][2]).cast("i")
    name, watched, ended = HEADER.unpack_from(message)
    pids = HEADER.size + watched
    state = pids + 4 * ended
    return Rest(
        name.rstrip(b"\0").decode(),
        message[state:],
        numbers,
        [numbers[index] for index in message[HEADER.size : pids]],
        list(memoryview(message)[pids:state].cast("i")),
        place,
        far,
    )


class _Packer(pickle.Pickler):
    def __init__(self, into: BytesIO) -> None:
        super().__init__(into, pickle.HIGHEST_PROTOCOL)
        self.numbers: dict[int, int] = {}

    def persistent_id(self, thing: Any) -> tuple[type, int] | None:  # noqa: ANN401  pickle's
        kind = type(thing)
        if kind not in MAKERS:
            return None
        return kind, self.numbers.setdefault(thing.fileno(), len(self.numbers))


class _Unpacker(pickle.Unpickler):
    def __init__(self, packed: bytes, numbers: Sequence[int]) -> None:
        super().__init__(BytesIO(packed))
        self._numbers = numbers
        self._made: dict[int, object] = {}

    def persistent_load(self, name: tuple[type, int]) -> object:
        kind, index = name
        if index not in self._made:
            self._made[index] = MAKERS[kind](self._numbers[index])
        return self._made[index]
