"""What the C library has and `os` does not: its calls, their errors, and what prctl(2) sets of a process.

Must not know what a call is for.
"""

import ctypes
import os

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15  # cut to 15 characters by the kernel
PR_SET_CHILD_SUBREAPER = 36

LIBC = ctypes.CDLL(None, use_errno=True)


def checked(result: int, attempted: str) -> int:
    """The result of a call of `LIBC`'s that is negative where it failed; raises OSError, with what was attempted."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{attempted}: {os.strerror(number)}")
    return result


def follow_parent(parent: int, number: int) -> None:
    """Has the kernel send this process the signal `number` when its parent ends, whose pid is `parent`.

    To be called right after the fork. Ends the process where the parent has ended before the kernel knew.
    """
    checked(LIBC.prctl(PR_SET_PDEATHSIG, number), "following the parent")
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans(*, adopt: bool = True) -> None:
    """Makes this process the parent of its children's children when those end; their exits are to be taken then."""
    checked(LIBC.prctl(PR_SET_CHILD_SUBREAPER, int(adopt)), "adopting orphans")


def take_name(name: str) -> None:
    """What ps(1) shows."""
    checked(LIBC.prctl(PR_SET_NAME, name.encode()), "taking a name")
