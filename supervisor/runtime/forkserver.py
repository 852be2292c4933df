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
from collections.abc import Iterator, Sequence
from contextlib import suppress

from workers.entry.sleeper import live
from workers.system.libc import follow_parent, fork_sibling, take_name

ANCILLARY_BYTES = socket.CMSG_SPACE(4 * 3)  # the descriptors of a worker (workers.entry.sleeper.live)
ORDER, PID = struct.Struct("=Q"), struct.Struct("=i")
SPARE = "nd-spare"  # until it is told for which endpoint it is

log = logging.getLogger(__name__)


def order(orders: socket.socket, number: int, descriptors: Sequence[int]) -> None:
    """Orders a worker with these descriptors. Raises OSError."""
    socket.send_fds(orders, [ORDER.pack(number)], descriptors, socket.MSG_DONTWAIT)


def forks(orders: socket.socket) -> Iterator[tuple[int, int]]:
    """The numbers of the orders that were carried out since the last call, with the pids. Raises OSError at the end."""
    with suppress(BlockingIOError):
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
