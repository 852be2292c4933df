"""Network namespaces and the sysctls that belong to them.

The only file that calls setns, unshare and mount; `os` has the first two from Python 3.12 on. Must not know what a
namespace is used for. A process enters a namespace as a whole, so the caller has one thread.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from workers.system.libc import LIBC, checked

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 0x2, 0x4, 0x8, 0x20, 0x1000

MACHINES_INIT = 1  # in no sandbox, and not always to be looked at
SYSCTLS = Path("/proc/sys")


class Namespace:
    """An open descriptor of a network namespace; it keeps the namespace alive until it is closed."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def enter(self) -> None:
        """Moves the calling process into the namespace; raises OSError."""
        checked(LIBC.setns(self._fd, CLONE_NEWNET), "entering a network namespace")

    @contextmanager
    def visit(self) -> Iterator[None]:
        """Spends the `with` block in the namespace and returns to where the process was, whatever happens."""
        with current() as home:
            self.enter()
            try:
                yield
            finally:
                home.enter()

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_namespace(path: str) -> Namespace:
    """The namespace bound at `path`; raises OSError while there is none."""
    return Namespace(os.open(path, os.O_RDONLY | os.O_CLOEXEC))


def current() -> Namespace:
    """The namespace that the process is in now."""
    return open_namespace("/proc/self/ns/net")


def is_abandoned(path: str) -> bool:
    """Whether only this process, its parent and the children of both are in the present namespace, and `path` does
    not lead to it.

    A process that has entered a sandbox keeps it alive, so its end has to be looked for. In doubt it is not abandoned.
    """
    family = (os.getpid(), os.getppid())
    with suppress(OSError):
        here = _place("/proc/self/ns/net")
        if here is None or _place(path) == here:
            return False
        pids = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
        others = (pid for pid in pids - {MACHINES_INIT, *family} if _place(f"/proc/{pid}/ns/net") == here)
        return all(_parent(pid) in (None, *family) for pid in others)
    return False


def _place(path: str) -> tuple[int, int] | None:
    """What tells a namespace from all others; None if there is none. Raises OSError where nobody may look."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = Path(path).stat()
        return found.st_dev, found.st_ino
    return None


def _parent(pid: int) -> int | None:
    with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return None


def new_namespace() -> Namespace:
    """A namespace with nothing in it but a loopback that is down; it ends when it is closed. Raises OSError."""
    with current() as home:
        checked(LIBC.unshare(CLONE_NEWNET), "making a network namespace")
        try:
            return current()
        finally:
            home.enter()


def make_sysctls_writable() -> None:
    """Lets this process and its children write /proc/sys, which the engine mounts read-only into a managed plugin.

    That takes a mount namespace of our own, so that nobody else's /proc/sys is opened. Raises OSError.
    """
    flags = os.statvfs(SYSCTLS).f_flag
    if not flags & os.ST_RDONLY:
        return
    stays = ((os.ST_NOSUID, MS_NOSUID), (os.ST_NODEV, MS_NODEV), (os.ST_NOEXEC, MS_NOEXEC))
    remount = MS_REMOUNT | MS_BIND | sum(mount for stat, mount in stays if flags & stat)
    checked(LIBC.unshare(CLONE_NEWNS), "making a mount namespace")
    checked(LIBC.mount(None, os.fsencode(SYSCTLS), None, ctypes.c_ulong(remount), None), f"remounting {SYSCTLS}")


def disable_ipv6(link: str) -> None:
    """Keeps a link of this namespace from taking router advertisements and making addresses; raises OSError.

    Holds until the link leaves the namespace: it gets fresh IPv6 settings where it arrives.
    """
    with suppress(FileNotFoundError):  # a kernel booted with ipv6.disable=1 has none of this tree
        set_ipv6(link, "disable_ipv6", 1)


def restrict_ipv6(link: str) -> None:
    """As `disable_ipv6`, but the link gets its link-local address as soon as it has a carrier, without DAD.

    That address is made of its MAC. Raises OSError, also where the kernel has no IPv6.
    """
    for setting in ("accept_ra", "autoconf", "accept_dad", "addr_gen_mode", "disable_ipv6"):
        set_ipv6(link, setting, 0)


def set_ipv6(link: str, setting: str, value: int) -> None:
    """Writes a setting of the link (ip-sysctl, conf/interface/*); raises OSError."""
    _write(f"net/ipv6/conf/{link}/{setting}", value)


def set_ipv4(link: str, setting: str, value: int) -> None:
    """Writes a setting of the link (ip-sysctl, conf/interface/*); raises OSError."""
    _write(f"net/ipv4/conf/{link}/{setting}", value)


def _write(setting: str, value: int) -> None:
    with FileIO(f"{SYSCTLS}/{setting}", "w") as file:
        file.write(b"%d" % value)
