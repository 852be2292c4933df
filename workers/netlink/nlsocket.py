"""A socket that asks the kernel over rtnetlink and takes its answers (netlink(7)); the messages are pyroute2's.

pyroute2's own sockets run an event loop since 0.9: a dozen system calls around each message, and 4 MB that a worker
keeps. Must not know what a message says: that is rtnl's.
"""

import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Self

from pyroute2.netlink import NLM_F_ACK, NLM_F_DUMP, NLM_F_MULTI, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, nlmsg
from pyroute2.netlink.exceptions import NetlinkError as KernelError
from pyroute2.netlink.rtnl import RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from workers.netlink.rtnetlink import LinkMessage

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence number, port
STATUS = struct.Struct("=i")  # a negated errno, or 0
NLM_F_DUMP_INTR = 0x10
SOL_NETLINK, NETLINK_GET_STRICT_CHK = 270, 12
BUFFER_BYTES = 1 << 16  # the kernel fills at most half of it at once
ANSWERS = {RTM_NEWLINK: LinkMessage, RTM_NEWADDR: ifaddrmsg, RTM_NEWROUTE: rtmsg}

__all__ = ["KernelError", "NetlinkSocket"]


class NetlinkSocket:
    """A socket of the present network namespace. A context manager."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        with suppress(OSError):  # before Linux 4.20 lists come whole, and whoever asks must choose
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Gives the descriptor back."""
        self._socket.close()

    def change(self, kind: int, message: nlmsg, flags: int = 0) -> None:
        """Has something done; raises KernelError."""
        self._ask(kind, message, flags | NLM_F_ACK)

    def get(self, kind: int, message: nlmsg) -> nlmsg:
        """The one message that answers the question; raises KernelError."""
        return self._ask(kind, message, 0)[0][0]

    def dump(self, kind: int, message: nlmsg) -> list[nlmsg]:
        """All messages of a list; asked for again where it has changed meanwhile. Raises KernelError."""
        consistent = False
        answers: list[nlmsg] = []
        while not consistent:
            answers, consistent = self._ask(kind, message, NLM_F_DUMP)
        return answers

    def _ask(self, kind: int, message: nlmsg, flags: int) -> tuple[list[nlmsg], bool]:
        """The answers, and whether they belong together."""
        self._sequence += 1
        message["header"] = {"type": kind, "flags": NLM_F_REQUEST | flags, "sequence_number": self._sequence}
        message.reset()
        message.encode()
        self._socket.send(message.data)
        answers: list[nlmsg] = []
        consistent = True
        while True:
            data, at = self._socket.recv(BUFFER_BYTES), 0
            while at < len(data):
                length, kind, flags, _, _ = HEADER.unpack_from(data, at)
                consistent = consistent and not flags & NLM_F_DUMP_INTR
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    (status,) = STATUS.unpack_from(data, at + HEADER.size)
                    if status:
                        raise KernelError(-status)
                    return answers, consistent
                answer = ANSWERS[kind](data, offset=at)
                answer.decode()
                answers.append(answer)
                if not flags & NLM_F_MULTI:
                    return answers, consistent
                at += (length + 3) & ~3
