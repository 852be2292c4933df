"""What the C library has and `os` does not: its calls, their errors, and what prctl(2) sets of a process.

Must not know what a call is for.
"""

import ctypes
import os

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15  # cut to 15 characters by the kernel
PR_SET_CHILD_SUBREAPER = 36
PR_GET_TID_ADDRESS = 40
SYS_CLONE3, CLONE_ARGUMENTS = 435, 8  # on every processor; clone(2)
CLONE_PARENT, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x8000, 0x200000, 0x1000000

LIBC = ctypes.CDLL(None, use_errno=True)
PYTHON = ctypes.PyDLL(None, use_errno=True)  # the same, and the interpreter, whose lock is held meanwhile


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


def fork_sibling() -> int:
    """As `os.fork()`, but that the child's parent is this process's own. For a process with one thread; raises OSError.

    Python is told as by `os.fork()`. The C library, which remembers a thread's number, is told by the kernel; one that
    cannot say where that is (without CONFIG_CHECKPOINT_RESTORE) leaves it as it was: nothing here depends on it.
    """
    place = ctypes.c_uint64()
    LIBC.prctl(PR_GET_TID_ADDRESS, ctypes.byref(place))
    flags = CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID
    arguments = (ctypes.c_uint64 * CLONE_ARGUMENTS)(flags, 0, place.value)
    PYTHON.PyOS_BeforeFork()
    pid: int = PYTHON.syscall(SYS_CLONE3, arguments, ctypes.sizeof(arguments))
    if pid == 0:
        PYTHON.PyOS_AfterFork_Child()
    else:
        PYTHON.PyOS_AfterFork_Parent()
    return checked(pid, "forking a sibling")
