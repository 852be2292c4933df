"""Wakes a worker when links or addresses of the present network namespace change.

Must not know the state of a link: workers.netlink.operations asks for that.
"""

import errno
import socket
from contextlib import suppress
from socket import htonl

from workers.system.packet_filter import ALL, JUMP_EQUAL, LOAD, RETURN, attach

RTMGRP_LINK = 0x1
RTMGRP_IPV4_IFADDR = 0x10
RTMGRP_IPV6_IFADDR = 0x100
# Of the link's index in the messages of both kinds, behind the common header (rtnetlink(7)). A filter reads it as if it
# were in the network's byte order.
INDEX_OFFSET = 20
MAX_CHANGES = 1024  # read at a time: a container that changes its links all the time must not keep us in here


def is_here(name: str) -> bool:
    """Whether the present namespace has a link of that name; a hundredth of the cost of asking for the link."""
    with suppress(OSError):
        return socket.if_nametoindex(name) > 0
    return False


def change_feed(groups: int = RTMGRP_LINK | RTMGRP_IPV4_IFADDR) -> socket.socket:
    """A socket that becomes readable when a link or an IPv4 address of the present namespace changes.

    It only wakes: `drain` the feed, and then ask a `Netlink` for the state. Other `groups` are about other changes.
    """
    feed = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    feed.bind((0, groups))
    return feed


def change_feed_of(index: int) -> socket.socket:
    """As `change_feed`, for one link: on the host others change all the time."""
    feed = change_feed()
    attach(feed, ((LOAD, 0, 0, INDEX_OFFSET), (JUMP_EQUAL, 0, 1, htonl(index)), (RETURN, 0, 0, ALL), (RETURN, 0, 0, 0)))
    return feed


def drain(feed: socket.socket) -> bool:
    """Reads a feed until it is empty, or much of a flood; True if it was not empty before. An overrun counts, too."""
    for number in range(MAX_CHANGES):
        try:
            feed.recv(1)  # the kernel drops the rest of the datagram
        except BlockingIOError:
            return number > 0
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
    return True
