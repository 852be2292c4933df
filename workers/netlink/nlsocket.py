"""A socket that asks the kernel over rtnetlink and takes its answers (netlink(7)); the messages are pyroute2's.

pyroute2's own sockets run an event loop since 0.9: a dozen system calls around each message, and 4 MB that a worker
keeps. Must not know the content of a message: that is rtnetlink's.
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import suppress

from pyroute2.netlink import NLM_F_ACK, NLM_F_DUMP, NLM_F_MULTI, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, nlmsg
from pyroute2.netlink.exceptions import NetlinkError as KernelError

from workers.netlink.rtnetlink import MESSAGE_HEADER, STATUS

NLM_F_DUMP_INTR = 0x10
SOL_NETLINK, NETLINK_GET_STRICT_CHK = 270, 12
KERNEL = 0  # its port (netlink(7))
DUMP_ATTEMPTS = 10
BUFFER_BYTES = 1 << 16  # the kernel fills at most half of it at once

__all__ = ["KernelError", "NetlinkSocket"]


class NetlinkSocket:
    """A socket of the present network namespace."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        with suppress(OSError):  # before Linux 4.20 the kernel sends the whole list, and the caller must choose
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def change(self, kind: int, message: nlmsg, flags: int = 0) -> None:
        """Asks the kernel for a change; raises KernelError."""
        self._ask(kind, message, flags | NLM_F_ACK)

    def get(self, kind: int, message: nlmsg) -> bytes:
        """The one message that answers the question; raises KernelError."""
        return self._ask(kind, message, 0)[0][0]

    def dump(self, kind: int, message: nlmsg) -> list[bytes]:
        """All messages of a list; asks again if the list changed meanwhile.

        Raises KernelError, with EINTR for a list that changes all the time: a container can cause that in its sandbox.
        """
        for _ in range(DUMP_ATTEMPTS):
            answers, consistent = self._ask(kind, message, NLM_F_DUMP)
            if consistent:
                return answers
        raise KernelError(errno.EINTR)

    def _ask(self, kind: int, message: nlmsg, flags: int) -> tuple[list[bytes], bool]:
        """The answers, and whether they belong together."""
        self._sequence += 1
        message["header"] = {"type": kind, "flags": NLM_F_REQUEST | flags, "sequence_number": self._sequence}
        message.reset()
        message.encode()
        self._socket.send(message.data)
        return self._answers()

    def _answers(self) -> tuple[list[bytes], bool]:
        answers: list[bytes] = []
        consistent = True
        for answer, kind, flags in self._replies():
            consistent = consistent and not flags & NLM_F_DUMP_INTR
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                (status,) = STATUS.unpack_from(answer, MESSAGE_HEADER.size)
                if status:
                    raise KernelError(-status)
                break
            answers.append(answer)
            if not flags & NLM_F_MULTI:
                break
        return answers, consistent

    def _replies(self) -> Iterator[tuple[bytes, int, int]]:
        """The messages that answer the last question, each with its kind and its flags.

        It skips the rest of an earlier question that failed halfway, and messages of other processes.
        """
        while True:
            data, (sender, _) = self._socket.recvfrom(BUFFER_BYTES)
            at = 0
            while sender == KERNEL and at < len(data):
                length, kind, flags, sequence, _ = MESSAGE_HEADER.unpack_from(data, at)
                if sequence == self._sequence:
                    yield data[at : at + length], kind, flags
                at += (length + 3) & ~3
