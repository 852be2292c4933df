"""Forks workers out of memory that nobody writes into.

A process shares the pages of whoever it was forked from until one of them writes. The supervisor writes into some 4 MB
of its pages for each endpoint, and a child of its own would keep each time's. So a child that does nothing else forks
the workers, as its siblings: the supervisor is the parent of each.
"""

import os
import signal
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress

from workers.entry.sleeper import live
from workers.system.libc import follow_parent, fork_sibling, take_name

DESCRIPTORS = 3  # of a worker (workers.entry.sleeper.live)
ORDER, PID = struct.Struct("=Q"), struct.Struct("=i")
SPARE = "nd-spare"  # until it is told for which endpoint it is


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
        message, descriptors, _, _ = socket.recv_fds(orders, ORDER.size, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        if not message:
            return
        if fork_sibling() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
    # The worker: what is done here stays in its memory.
    take_name(SPARE)
    follow_parent(supervisor, signal.SIGKILL)
    try:  # noqa: SIM105  `suppress` takes memory
        os.write(orders.fileno(), message + PID.pack(os.getpid()))
    except OSError:
        pass  # a supervisor that is stopping does not listen, and has closed the channel as well
    os.close(orders.fileno())
    live(*descriptors)
