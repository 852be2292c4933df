"""Wakes a worker when links or addresses of the present network namespace change.

Must not know what a link is like: workers.netlink.operations asks for that.
"""

import errno
import socket
from contextlib import suppress

RTMGRP_LINK = 0x1
RTMGRP_IPV4_IFADDR = 0x10


def is_here(name: str) -> bool:
    """Whether the present namespace has a link of that name; it costs a hundredth of asking for the link."""
    with suppress(OSError):
        return socket.if_nametoindex(name) > 0
    return False


def change_feed() -> socket.socket:
    """A socket that becomes readable when a link or an IPv4 address of the present namespace changes.

    A wake-up only: ask a `Netlink` for the state, and `drain` the feed before that.
    """
    feed = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    feed.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR))
    return feed


def drain(feed: socket.socket) -> bool:
    """Reads a feed until it is empty; True if there was anything. An overrun is a change like any other."""
    changed = False
    while True:
        try:
            feed.recv(1)  # the rest of a datagram that does not fit is dropped by the kernel
        except BlockingIOError:
            return changed
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
        changed = True
