"""Reads a file of bolt (bbolt), in which dockerd keeps its networks, while dockerd writes it.

Owns the file's form: pages of a B+ tree. A transaction copies the pages that it changes, and then names the new root in
one of two meta pages by turns. So what the newest meta page reaches stays as it is until the next one is written, and
a file that is read whole, between two looks that show the same meta page, is one state of the database. Takes no lock,
because dockerd holds that as long as it runs. Must not know what is in the database.
"""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from struct import Struct, error

from supervisor.engine.foreign_root import open_regular

# The number of a page, its kind, how many elements it has, and how many pages follow that belong to it.
PAGE = Struct("<QHHI")
BRANCH, LEAF = 1, 2
# Magic number, version, page size, flags, the root bucket's page and sequence, free list, high water mark, transaction.
META = Struct("<IIIIQQQQQ")
MAGIC, VERSION = 0xED0CDAED, 2
CHECKSUM = Struct("<Q")  # of the meta page before it: FNV-1a
FNV_BASIS, FNV_PRIME, FNV_MASK = 0xCBF29CE484222325, 0x100000001B3, 2**64 - 1
PAGE_SIZES = (4096, 8192, 16384, 65536)  # the page size is the machine's, and the second meta page is there
BRANCH_ELEMENT = Struct("<IIQ")  # where its key is, counted from here, the key's size, the page below
LEAF_ELEMENT = Struct("<IIII")  # flags, where its key is, counted from here, the sizes of key and value
BUCKET = Struct("<QQ")  # what a bucket has as its value: its root page, or 0 if that page follows; and a sequence
IS_BUCKET = 1
DEPTH = 16  # more than a tree of any size has
LOOKS = 5  # dockerd may write between them


class Unreadable(Exception):
    """The file has another form, or was written each time that it was read."""


class Database:
    """One state of the database."""

    def __init__(self, content: bytes) -> None:
        """Raises Unreadable."""
        self._content = content
        self.transaction, self._page_size, self._root = _newest_meta(content)

    def items(self, bucket: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The keys with this prefix in a bucket of the root, each with its value. Raises Unreadable."""
        try:
            for name, value in self._below(self._root, bucket, IS_BUCKET):
                if name == bucket:
                    root, _ = BUCKET.unpack_from(value)
                    yield from self._below(root, prefix, 0) if root else _elements(value, BUCKET.size, prefix, 0)
        except error:
            raise Unreadable("a page is beyond the end of the file") from None

    def _below(self, number: int, prefix: bytes, flags: int, depth: int = 0) -> Iterator[tuple[bytes, bytes]]:
        """The elements with this prefix and these flags on a page and on those below it."""
        start = number * self._page_size
        _, kind, count, _ = PAGE.unpack_from(self._content, start)
        if kind == LEAF:
            yield from _elements(self._content, start, prefix, flags)
        elif kind == BRANCH and depth < DEPTH:
            children = list(self._children(start, count))
            # A child's keys begin with the one that it has here, and end before its neighbour's.
            for (first, child), (neighbours, _) in pairwise([*children, (b"", 0)]):
                if first[: len(prefix)] <= prefix and (not neighbours or neighbours > prefix):
                    yield from self._below(child, prefix, flags, depth + 1)
        else:
            raise Unreadable(f"page {number} is of kind {kind}, {depth} below the root")

    def _children(self, start: int, count: int) -> Iterator[tuple[bytes, int]]:
        for at in range(start + PAGE.size, start + PAGE.size + count * BRANCH_ELEMENT.size, BRANCH_ELEMENT.size):
            offset, size, child = BRANCH_ELEMENT.unpack_from(self._content, at)
            yield self._content[at + offset : at + offset + size], child


def read_database(path: Path) -> Database:
    """The state of the database now. Raises Unreadable, and OSError."""
    with open_regular(path) as file:
        for _ in range(LOOKS):
            database = Database(os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0))
            newest, *_ = _newest_meta(os.pread(file.fileno(), PAGE_SIZES[-1] + PAGE_SIZES[0], 0))
            if newest == database.transaction:
                return database
    raise Unreadable(f"{path} was written each of {LOOKS} times that it was read")


def _elements(content: bytes, start: int, prefix: bytes, flags: int) -> Iterator[tuple[bytes, bytes]]:
    """The elements of a leaf with this prefix and these flags."""
    _, _, count, _ = PAGE.unpack_from(content, start)
    for at in range(start + PAGE.size, start + PAGE.size + count * LEAF_ELEMENT.size, LEAF_ELEMENT.size):
        its, offset, size, length = LEAF_ELEMENT.unpack_from(content, at)
        key_end = at + offset + size
        if its == flags and content.startswith(prefix, at + offset, key_end):
            yield content[at + offset : key_end], content[key_end : key_end + length]


def _newest_meta(content: bytes) -> tuple[int, int, int]:
    """The last transaction, the size of a page, and the page of the root bucket. Raises Unreadable."""
    found = []
    for start in (0, *PAGE_SIZES):
        end = start + PAGE.size + META.size
        meta, checksum = content[start + PAGE.size : end], content[end : end + CHECKSUM.size]
        if len(checksum) == CHECKSUM.size and CHECKSUM.unpack(checksum) == (fnv(meta),):
            magic, version, page_size, _, root, _, _, _, transaction = META.unpack(meta)
            if (magic, version) == (MAGIC, VERSION) and start in (0, page_size):
                found.append((transaction, page_size, root))
    if not found:
        raise Unreadable("it has no meta page of bolt, version 2")
    return max(found)


def fnv(content: bytes) -> int:
    """The checksum of a meta page."""
    value = FNV_BASIS
    for byte in content:
        value = ((value ^ byte) * FNV_PRIME) & FNV_MASK
    return value
