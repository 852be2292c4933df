"""Notices when the parents of our links change. The supervisor itself listens, so nothing here waits for the kernel.

A parent's state comes by ioctl, for which the kernel takes no lock: a question over rtnetlink would wait while others
make or remove links. Must not know what follows from a change.
"""

import errno
import fcntl
import socket
import struct
from collections.abc import Collection
from contextlib import suppress
from socket import htonl

from msgspec import Struct

from workers.contract.link import HOST_LINK_PREFIX
from workers.netlink.changes import INDEX_OFFSET, RTMGRP_LINK, change_feed
from workers.netlink.rtnetlink import AF_BRIDGE, decode_link
from workers.system.packet_filter import ALL, JUMP_EQUAL, LOAD, LOAD_BYTE, RETURN, Instruction, attach

SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFINDEX = 0x8913, 0x8921, 0x8933
FLAGS, NUMBER = struct.Struct("=16sH22x"), struct.Struct("=16si20x")  # struct ifreq: netdevice(7)
IFF_UP, IFF_RUNNING = 0x1, 0x40
KIND_OFFSET, FAMILY_OFFSET = 4, 16
KIND = struct.Struct("=H")
RTM_DELLINK = 17
MESSAGE_BYTES = 4096
MAX_MESSAGES = 1000  # read at a time: the supervisor has other work
MOST_FILTERED = 200  # a jump of the filter goes over 255 instructions at most
EVERYTHING: tuple[Instruction, ...] = ((RETURN, 0, 0, ALL),)


class ParentState(Struct, frozen=True):
    """`running`: it is up, and has a carrier."""

    index: int
    up: bool
    running: bool
    mtu: int


class Heard(Struct, frozen=True):
    """`lost` are the ports of ours that a bridge has lost, `joined` the bridges that have got another's port.

    `changed`: a link has changed, and it is for the listener to look at it. `missed`: so much has happened at once that
    some of it was not heard.
    """

    lost: frozenset[str]
    joined: frozenset[int]
    changed: bool
    missed: bool


class ParentWatch:
    """Readable when one of the links has changed that it listens for. Its sockets belong to the present namespace."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._feed = change_feed(RTMGRP_LINK)
        self._asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def fileno(self) -> int:
        return self._feed.fileno()

    def close(self) -> None:
        self._feed.close()
        self._asking.close()

    def state(self, name: str) -> ParentState | None:
        """The present state of the link with this name; None if there is none."""
        wanted = name.encode()
        with suppress(OSError):
            _, index = NUMBER.unpack(fcntl.ioctl(self._asking, SIOCGIFINDEX, NUMBER.pack(wanted, 0)))
            _, flags = FLAGS.unpack(fcntl.ioctl(self._asking, SIOCGIFFLAGS, FLAGS.pack(wanted, 0)))
            _, mtu = NUMBER.unpack(fcntl.ioctl(self._asking, SIOCGIFMTU, NUMBER.pack(wanted, 0)))
            up = bool(flags & IFF_UP)
            return ParentState(index, up, up and bool(flags & IFF_RUNNING), mtu)
        return None

    def listen(self, links: Collection[int], *, newcomers: bool) -> None:
        """Listens for these links and for the ports of bridges from now on; with `newcomers` for all links.

        Each start of a container makes dozens of changes, and most of them need not wake anybody. Raises OSError.
        """
        if newcomers or len(links) > MOST_FILTERED:
            attach(self._feed, EVERYTHING)
            return
        family = ((LOAD_BYTE, 0, 0, FAMILY_OFFSET), (JUMP_EQUAL, len(links) + 2, 0, AF_BRIDGE))
        tests = [*family, (LOAD, 0, 0, INDEX_OFFSET)]
        tests += [(JUMP_EQUAL, len(links) - n, 0, htonl(index)) for n, index in enumerate(links)]
        attach(self._feed, (*tests, (RETURN, 0, 0, 0), (RETURN, 0, 0, ALL)))

    def read(self) -> Heard:
        """Reads what was heard since the last call; of very much only a part."""
        lost, joined, changed, missed = set[str](), set[int](), False, False
        for _ in range(MAX_MESSAGES):
            try:
                message = self._feed.recv(MESSAGE_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                missed = True
                continue
            if message[FAMILY_OFFSET] != AF_BRIDGE:
                changed = True
            else:
                port = decode_link(message)
                is_ours = port.name.startswith(HOST_LINK_PREFIX)
                if is_ours and KIND.unpack_from(message, KIND_OFFSET)[0] == RTM_DELLINK and self.state(port.name):
                    lost.add(port.name)  # else the link itself is removed
                elif not is_ours and port.master is not None:
                    joined.add(port.master)
        return Heard(frozenset(lost), frozenset(joined), changed, missed)
