"""Netlink's framing, with a script in the kernel's place where the kernel cannot be made to."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from workers.nlsocket import (
    HEADER,
    NLM_F_DUMP_INTR,
    NLM_F_MULTI,
    NLMSG_DONE,
    NLMSG_ERROR,
    STATUS,
    KernelError,
    NetlinkSocket,
    attribute,
    attributes,
    number,
    number_in,
    text,
    text_in,
)

QUESTION, ANSWER = 18, 16


def message(kind: int, flags: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags, 1, 0) + body


@contextmanager
def scripted(monkeypatch: pytest.MonkeyPatch, *datagrams: bytes) -> Iterator[NetlinkSocket]:
    """A socket that is answered with these, one after the other."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for datagram in datagrams:
        theirs.send(datagram)
    monkeypatch.setattr("workers.nlsocket.socket.socket", lambda *_: ours)
    with theirs, NetlinkSocket(0) as kernel:
        yield kernel


def test_attributes_are_padded_and_nested() -> None:
    """What was put together is found again, whatever its length and depth."""
    inner = text(3, "br-lan") + number(4, 1500)
    found = attributes(b"head" + attribute(18, inner) + attribute(1, b"\1\2\3"), 4)

    assert found[1] == b"\1\2\3"
    assert text_in(attributes(found[18])[3]) == "br-lan"
    assert number_in(attributes(found[18])[4]) == 1500


def test_attribute_without_length_ends_the_list() -> None:
    """Not even nonsense makes it run for ever."""
    assert attributes(number(1, 7) + bytes(8)) == {1: number(1, 7)[4:]}


def test_interrupted_list_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that is missing from such a list has not vanished."""
    done = message(NLMSG_DONE, NLM_F_MULTI, STATUS.pack(0))
    torn = message(ANSWER, NLM_F_MULTI, b"old.") + message(ANSWER, NLM_F_MULTI | NLM_F_DUMP_INTR, b"torn")
    whole = message(ANSWER, NLM_F_MULTI, b"new1"), message(ANSWER, NLM_F_MULTI, b"new2") + done

    with scripted(monkeypatch, torn + done, *whole) as kernel:
        assert kernel.dump(QUESTION, b"") == [b"new1", b"new2"]


def test_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its errno is the kernel's."""
    refused = message(NLMSG_ERROR, 0, STATUS.pack(-errno.EPERM) + bytes(HEADER.size))

    with (
        scripted(monkeypatch, refused) as kernel,
        pytest.raises(KernelError, match="Operation not permitted") as caught,
    ):
        kernel.change(QUESTION, b"")
    assert caught.value.code == errno.EPERM
