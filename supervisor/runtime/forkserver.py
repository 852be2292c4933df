"""Forks workers out of memory that nobody writes into.

A process shares the pages of its parent until one of them writes. The supervisor writes into its pages for each
endpoint, and a worker that it forks keeps what was there: 2.2 MB for each container instead of 0.7. So a child that
does nothing else forks the workers, as its siblings: the supervisor is the parent of each. Two calls of `os.fork` would
make it that as well, but cost 0.05 to 0.07 MB for each container, and the kernel may take the end of the process
between them for the end of the parent that the worker follows.
"""

import logging
import os
import signal
import socket
import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress

from workers.entry.sleeper import live
from workers.system.libc import follow_parent, fork_sibling, take_name

ANCILLARY_BYTES = socket.CMSG_SPACE(4 * 3)  # the descriptors of a worker (workers.entry.sleeper.live)
SO_SNDBUFFORCE = 32  # asm-generic/socket.h; Python does not name it
ORDER, PID = struct.Struct("=Q"), struct.Struct("=i")
ROOM_BYTES = 2 << 20  # for some 5,000 orders that wait, more than one host has containers
SPARE = "nd-spare"  # until it is told for which endpoint it is

log = logging.getLogger(__name__)


def orders_pair() -> tuple[socket.socket, socket.socket]:
    """The supervisor's end and the forkserver's. A host that starts all its containers at once has room for them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, ROOM_BYTES)
    return ours, theirs


def order(orders: socket.socket, number: int, descriptors: Sequence[int]) -> None:
    """Orders a worker with these descriptors. Never waits; raises OSError.

    `socket.send_fds` would wait: it ignores its flags (CPython 3.11 to 3.13).
    """
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))
    orders.sendmsg([ORDER.pack(number)], [rights], socket.MSG_DONTWAIT)


def forks(orders: socket.socket) -> Iterator[tuple[int, int]]:
    """The numbers of the orders that were carried out since the last call, with the pids. None once it has died."""
    with suppress(BlockingIOError, ConnectionResetError):  # the second where it has left orders unread
        while message := orders.recv(ORDER.size + PID.size, socket.MSG_DONTWAIT):
            yield *ORDER.unpack_from(message), *PID.unpack_from(message, ORDER.size)


def serve(orders: socket.socket) -> None:
    """Forks a worker for each order that comes, until end of file; returns in each worker, too, when that ends."""
    supervisor = os.getppid()
    while True:
        # Not `socket.recv_fds`, which ignores the flag: a udhcpc that had the sleeper's socket as well would keep the
        # sleeper from seeing that a turn has died.
        message, ancillary, _, _ = orders.recvmsg(ORDER.size, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
        if not message:
            return
        descriptors = memoryview(ancillary[0][2]).cast("i")
        try:
            if fork_sibling() == 0:
                break
        except OSError as error:  # the supervisor hears of it by the end of the channel
            log.error("a worker could not be forked: %s", error)
        for descriptor in descriptors:
            os.close(descriptor)
    # The worker: work done here stays in its memory.
    take_name(SPARE)
    follow_parent(supervisor, signal.SIGKILL)
    try:  # noqa: SIM105  `suppress` takes memory
        os.write(orders.fileno(), message + PID.pack(os.getpid()))
    except OSError:
        pass  # a supervisor that is stopping does not listen, and has closed the channel as well
    os.close(orders.fileno())
    live(*descriptors)
