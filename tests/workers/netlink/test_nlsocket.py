"""Asking the kernel, with a script in its place where it cannot be made to answer so."""

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pyroute2.netlink import NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR
from pyroute2.netlink.rtnl import RTM_GETLINK, RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from workers.netlink.nlsocket import NLM_F_DUMP_INTR, STATUS, KernelError, NetlinkSocket

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence number, port
DONE = HEADER.pack(HEADER.size + STATUS.size, NLMSG_DONE, NLM_F_MULTI, 1, 0) + STATUS.pack(0)


def message(kind: int, flags: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags, 1, 0) + body


def link(index: int, flags: int = NLM_F_MULTI) -> bytes:
    return message(RTM_NEWLINK, flags, struct.pack("=BxHiII", 0, 0, index, 0, 0))


@contextmanager
def scripted(monkeypatch: pytest.MonkeyPatch, *datagrams: bytes) -> Iterator[tuple[NetlinkSocket, socket.socket]]:
    """A socket that is answered with these, one after the other, and the end that has the questions."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for datagram in datagrams:
        theirs.send(datagram)
    monkeypatch.setattr("workers.netlink.nlsocket.socket.socket", lambda *_: ours)
    with theirs, NetlinkSocket() as kernel:
        yield kernel, theirs


def test_interrupted_list_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that is missing from such a list has not vanished; the second question is as long as the first."""
    torn = link(1) + link(2, NLM_F_MULTI | NLM_F_DUMP_INTR)

    with scripted(monkeypatch, torn + DONE, link(3), link(4) + DONE) as (kernel, asked):
        assert [answer["index"] for answer in kernel.dump(RTM_GETLINK, ifinfmsg())] == [3, 4]
        first, second = asked.recv(4096), asked.recv(4096)
    assert len(first) == len(second) == HEADER.unpack_from(first)[0] == HEADER.unpack_from(second)[0]


@pytest.mark.parametrize(("kind", "tail"), [(NLMSG_ERROR, bytes(HEADER.size)), (NLMSG_DONE, b"")])
def test_refusal(monkeypatch: pytest.MonkeyPatch, kind: int, tail: bytes) -> None:
    """Its errno is the kernel's, whether a question is refused or a list breaks off."""
    refused = message(kind, 0, STATUS.pack(-errno.EPERM) + tail)

    with (
        scripted(monkeypatch, refused) as (kernel, _),
        pytest.raises(KernelError, match="Operation not permitted") as caught,
    ):
        kernel.dump(RTM_GETLINK, ifinfmsg())
    assert caught.value.code == errno.EPERM
