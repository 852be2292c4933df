"""The disk of a machine whose power is cut: which of the machine's writes had reached it by then.

QEMU's driver `blklogwrites` logs each write, in the format of the kernel's dm-log-writes. What was written after the
last flush may be lost when the power fails, and here it is.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab.command import run

SUPER = struct.Struct("<QQQL")  # magic, version, number of entries, bytes of a sector
ENTRY = struct.Struct("<QQQQ")  # first sector on the disk, sectors, flags, bytes of data
MAGIC = 0x6A736677736872
FLUSH, DISCARD = 1, 4
LABEL = "root"


@dataclass(frozen=True, slots=True)
class Entry:
    """A write of the machine, or a flush; `data_at` is where the log has what was written."""

    sector: int
    sectors: int
    flags: int
    data_at: int


@dataclass(frozen=True, slots=True)
class Cut:
    """What a power failure has left and taken: numbers of flushes and of writes."""

    flushes: int
    kept: int
    lost: int

    def __str__(self) -> str:
        return f"{self.kept} writes up to the flush {self.flushes} kept, {self.lost} lost"


def make_disk(disk: Path, content: Path, megabytes: int) -> None:
    """An ext4 file system with this content."""
    disk.unlink(missing_ok=True)
    run("mkfs.ext4", "-q", "-L", LABEL, "-d", content, disk, f"{megabytes}M", timeout=600)


def copy_disk(disk: Path, copy: Path) -> None:
    """Without the holes."""
    run("cp", disk, copy, timeout=600)


def carry_out(log: Path, disk: Path) -> Cut:
    """Writes to the disk, which is as it was before the run, what had reached it at the log's last flush."""
    with log.open("rb") as written, disk.open("r+b") as target:
        magic, _, number, size = SUPER.unpack(written.read(SUPER.size))
        assert magic == MAGIC, "no log of writes"
        entries = list(_entries(written.fileno(), number, size))
        flushes = [place for place, entry in enumerate(entries) if entry.flags & FLUSH]
        assert flushes, "the machine has flushed nothing, not even at its start"
        kept = entries[: flushes[-1] + 1]
        for entry in kept:
            if not entry.flags & DISCARD:
                data = os.pread(written.fileno(), entry.sectors * size, entry.data_at)
                os.pwrite(target.fileno(), data, entry.sector * size)
    return Cut(len(flushes), _writes(kept), _writes(entries) - _writes(kept))


def _entries(log: int, number: int, size: int) -> Iterator[Entry]:
    """All, up to one that QEMU was just writing."""
    place = size
    for _ in range(number):
        sector, sectors, flags, _ = ENTRY.unpack(os.pread(log, ENTRY.size, place))
        if not (sectors or flags):
            return
        entry = Entry(sector, sectors, flags, place + size)
        yield entry
        place = entry.data_at + (0 if flags & DISCARD else sectors * size)


def _writes(entries: list[Entry]) -> int:
    return sum(1 for entry in entries if entry.sectors)
