"""Asking the kernel, with a script in its place where it cannot be made to answer so."""

import errno
import struct
from collections.abc import Iterator

import pytest
from pyroute2.netlink import NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR
from pyroute2.netlink.rtnl import RTM_GETLINK, RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from workers.netlink.nlsocket import DUMP_ATTEMPTS, KERNEL, NLM_F_DUMP_INTR, KernelError, NetlinkSocket
from workers.netlink.rtnetlink import STATUS, decode_link

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence number, port
STRANGER = 4711


def message(kind: int, flags: int, body: bytes, sequence: int = 1) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body


def link(index: int, sequence: int = 1, flags: int = 0) -> bytes:
    return message(RTM_NEWLINK, NLM_F_MULTI | flags, struct.pack("=BxHiII", 0, 0, index, 0, 0), sequence)


def done(sequence: int = 1) -> bytes:
    return message(NLMSG_DONE, NLM_F_MULTI, STATUS.pack(0), sequence)


class Script:
    """The kernel's end of a socket: its datagrams, each with its sender's port, one after the other."""

    def __init__(self, datagrams: Iterator[tuple[bytes, int]]) -> None:
        self._datagrams = datagrams
        self.asked: list[bytes] = []

    def setsockopt(self, *_: int) -> None:
        """There is nothing to be set."""

    def send(self, question: bytes) -> None:
        self.asked.append(bytes(question))

    def recvfrom(self, _: int) -> tuple[bytes, tuple[int, int]]:
        data, sender = next(self._datagrams)
        return data, (sender, 0)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Script:
    """What the test's parameter says is what the kernel answers."""
    played = Script(iter(request.param))
    monkeypatch.setattr("workers.netlink.nlsocket.socket.socket", lambda *_: played)
    return played


def indices(kernel: NetlinkSocket) -> list[int]:
    return [decode_link(answer).index for answer in kernel.dump(RTM_GETLINK, ifinfmsg())]


def torn(sequence: int) -> tuple[bytes, int]:
    return link(1, sequence) + link(2, sequence, NLM_F_DUMP_INTR) + done(sequence), KERNEL


@pytest.mark.parametrize("script", [[torn(1), (link(3, 2), KERNEL), (link(4, 2) + done(2), KERNEL)]], indirect=True)
def test_interrupted_list_is_asked_for_again(script: Script) -> None:
    """A link that is missing from such a list has not vanished; the second question is as long as the first."""
    assert indices(NetlinkSocket()) == [3, 4]
    first, second = script.asked
    assert len(first) == len(second) == HEADER.unpack_from(first)[0] == HEADER.unpack_from(second)[0]


@pytest.mark.parametrize("script", [map(torn, range(1, 100))], indirect=True)
def test_list_that_never_stops_changing(script: Script) -> None:
    """Somebody who changes links all the time gets an error, not a worker that asks for ever."""
    with pytest.raises(KernelError) as caught:
        indices(NetlinkSocket())
    assert caught.value.code == errno.EINTR
    assert len(script.asked) == DUMP_ATTEMPTS


REFUSED = message(NLMSG_DONE, NLM_F_MULTI, STATUS.pack(-errno.ENOBUFS))


@pytest.mark.parametrize(
    "script",
    [
        [(link(1) + REFUSED, KERNEL), (link(2) + done(), KERNEL), (link(3, 2) + done(2), KERNEL)],
        [(REFUSED, KERNEL), (link(2, 2) + done(2), STRANGER), (bytes(8), STRANGER), (link(3, 2) + done(2), KERNEL)],
    ],
    ids=["the rest of an earlier answer", "another process"],
    indirect=True,
)
@pytest.mark.usefixtures("script")
def test_only_the_kernels_answer_to_this_question_counts() -> None:
    """Another's links are not taken for the kernel's, nor those of a question that has failed for this one's."""
    kernel = NetlinkSocket()
    with pytest.raises(KernelError):
        indices(kernel)
    assert indices(kernel) == [3]


@pytest.mark.parametrize(
    "script",
    [[(message(NLMSG_ERROR, 0, STATUS.pack(-errno.EPERM) + bytes(HEADER.size)), KERNEL)]],
    indirect=True,
)
@pytest.mark.usefixtures("script")
def test_refusal() -> None:
    """Its errno is the kernel's."""
    with pytest.raises(KernelError, match="Operation not permitted") as caught:
        indices(NetlinkSocket())
    assert caught.value.code == errno.EPERM
