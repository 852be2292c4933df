"""Finds dockerd's process: by the socket that it listens on, not by who made that socket, which may have been systemd.

A name proves nothing: any user may run a program called dockerd, and so does each container with an engine inside.
dockerd is root's process of that name, in the PID namespace of the host, that has the very socket open. Reads
/proc alone, and connects to nothing: that would start an engine that was stopped and is activated by its socket.

What there are many of is read without a `Path`, which puts each part of its name into Python's table of interned
strings: after some 15,000 new ones a process has a larger table of its own, 1.3 MB.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from supervisor.engine.foreign_root import read_regular, resolve

NAME = b"dockerd\n"  # as in /proc/PID/comm
LISTENS = "00010000"  # the flag of a listening socket in /proc/net/unix
ROOT = ["0"] * 4  # the user ids of a process: real, effective, saved, of the file system
FLAGS, INODE, PATH = 3, 6, 7  # the fields of /proc/net/unix


def find_daemon(socket_path: str) -> int:
    """The pid of the dockerd that listens at `socket_path`. Raises OSError, which says what was seen instead."""
    bound = Path(socket_path).stat()
    named = list(_named())
    found = [pid for pid in named if _is_hosts_root(pid) and _listens_at(pid, bound)]
    found = [pid for pid in found if _parent(pid) not in found]  # one that dockerd has just forked has all that it has
    if len(found) != 1:
        who = ", ".join(map(str, named)) or "none"
        raise OSError(
            f"no dockerd of the host's root listens at {socket_path} (processes of that name: {who}); the plugin looks "
            "again, and needs CAP_SYS_PTRACE for it"
        )
    return found[0]


def _named() -> Iterator[int]:
    """psutil would cost 1.4 MB for this alone."""
    for number in filter(str.isdigit, (entry.name for entry in os.scandir("/proc"))):
        with suppress(OSError):  # it has just gone
            if read_regular(f"/proc/{number}/comm") == NAME:
                yield int(number)


def _is_hosts_root(pid: int) -> bool:
    """Whether it is root's, and in the PID namespace that our /proc shows: one below has a second pid there."""
    with suppress(OSError):
        fields = dict(line.partition(":")[::2] for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return fields["Uid"].split() == ROOT and len(fields["NSpid"].split()) == 1
    return False


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return 0


def _listens_at(pid: int, bound: os.stat_result) -> bool:
    """Whether one of its descriptors is a listening socket that is bound to this very file."""
    with suppress(OSError):
        own = {link for entry in os.scandir(f"/proc/{pid}/fd") if (link := _target(entry.path)).startswith("socket:")}
        with Path(f"/proc/{pid}/net/unix").open(errors="replace") as lines:
            fields = (line.rstrip("\n").split(maxsplit=PATH) for line in lines)
            return any(
                f[FLAGS] == LISTENS and f"socket:[{f[INODE]}]" in own and _is_file(pid, f[PATH], bound)
                for f in fields
                if len(f) > PATH
            )
    return False


def _target(link: str) -> str:
    with suppress(OSError):  # it has just been closed
        return os.readlink(link)  # noqa: PTH115  see above
    return ""


def _is_file(pid: int, path: str, bound: os.stat_result) -> bool:
    with suppress(OSError):  # an abstract name, or a file that was removed
        return os.path.samestat(resolve(Path(f"/proc/{pid}/root"), path).lstat(), bound)
    return False
