"""The reader of bolt's files: every element is found, another state of the file is never mixed in."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.engine import bolt
from supervisor.engine.bolt import Database, Unreadable, read_database
from tests.supervisor.boltfile import bolt_file, meta_page

KEYS = st.dictionaries(st.binary(min_size=1, max_size=12), st.binary(max_size=40), max_size=40)
SMALL, LARGE = b"small", b"large"
MANY = {b"a/%d" % number: b"%d" % number for number in range(10, 30)} | {b"b/1": b"x", b"c/1": b"y"}


@given(items=KEYS, prefix=st.binary(max_size=2), page_size=st.sampled_from([4096, 16384]))
def test_items_with_a_prefix(items: dict[bytes, bytes], prefix: bytes, page_size: int) -> None:
    """Exactly those with the prefix are found, in order, whether a bucket is one page or many."""
    database = Database(bolt_file({LARGE: items, SMALL: {b"k": b"v"}}, page_size=page_size))
    expected = sorted((key, value) for key, value in items.items() if key.startswith(prefix))
    assert list(database.items(LARGE, prefix)) == expected
    assert list(database.items(SMALL, b"")) == [(b"k", b"v")]


def test_no_such_bucket() -> None:
    """A bucket that is not there has no items."""
    assert list(Database(bolt_file({SMALL: {b"k": b"v"}})).items(LARGE, b"")) == []


@pytest.mark.parametrize("transaction", [8, 9])
def test_newest_meta_page(transaction: int) -> None:
    """Each of the two may be the newest, and one that is not whole is none."""
    content = bytearray(bolt_file({SMALL: {b"k": b"v"}}, transaction=transaction))
    assert Database(bytes(content)).transaction == transaction
    newest = 0 if transaction % 2 == 0 else 4096
    content[newest + 60] ^= 1
    assert Database(bytes(content)).transaction == transaction - 1


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 8192, os.urandom(8192), bolt_file({SMALL: {b"k": b"v"}})[:8192], bolt_file({LARGE: MANY})[:-8192]],
    ids=["empty", "blank", "noise", "without its root", "cut off"],
)
def test_another_form(content: bytes) -> None:
    """What is no whole database is refused, never read in part."""
    with pytest.raises(Unreadable):
        list(Database(content).items(LARGE, b"a/"))


def test_pages_that_lead_in_a_circle() -> None:
    """A damaged file costs no more than a look."""
    content = bytearray(bolt_file({LARGE: MANY}))
    root = max(i for i in range(4, len(content) // 4096) if content[i * 4096 + 8] == bolt.BRANCH)
    at = root * 4096 + bolt.PAGE.size
    offset, size, _ = bolt.BRANCH_ELEMENT.unpack_from(content, at)
    bolt.BRANCH_ELEMENT.pack_into(content, at, offset, size, root)
    with pytest.raises(Unreadable):
        list(Database(bytes(content)).items(LARGE, b"a/"))


def test_written_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changed as it was read is read again; one that always does is refused."""
    path = tmp_path / "db"
    path.write_bytes(bolt_file({SMALL: {b"k": b"old"}}, transaction=8))
    read, writes = os.pread, iter(range(10, 10 + 4 * bolt.LOOKS, 2))

    def pread(number: int, size: int, offset: int) -> bytes:
        content = read(number, size, offset)
        if (transaction := next(writes, None)) is not None:
            path.write_bytes(bolt_file({SMALL: {b"k": b"new"}}, transaction=transaction))
        return content

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(Unreadable, match="was written each of 5 times"):
        read_database(path)
    assert list(read_database(path).items(SMALL, b"")) == [(b"k", b"new")]


def test_no_regular_file(tmp_path: Path) -> None:
    """A FIFO in its place blocks nobody."""
    os.mkfifo(tmp_path / "db")
    with pytest.raises(OSError, match="no regular file"):
        read_database(tmp_path / "db")


def test_meta_page_of_another_version() -> None:
    """A later form of the file is refused."""
    page = bytearray(meta_page(0, 4096, 3, 5, 8))
    page[bolt.PAGE.size + 4] = 3
    meta = bytes(page[bolt.PAGE.size : bolt.PAGE.size + bolt.META.size])
    bolt.CHECKSUM.pack_into(page, bolt.PAGE.size + bolt.META.size, bolt.fnv(meta))
    with pytest.raises(Unreadable):
        Database(bytes(page))
