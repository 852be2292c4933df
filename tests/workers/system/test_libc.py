"""The C library's errors, a process that follows its parent, and one that is forked for it."""

import ctypes
import errno
import os
import select
import subprocess
import sys
from io import FileIO
from signal import SIGTERM

import pytest

from workers.system.libc import LIBC, PR_GET_TID_ADDRESS, checked, follow_parent, fork_sibling

PATIENCE_SECONDS = 30.0
# A parent with a child that follows it; the child's pid comes when the kernel knows.
FAMILY = """
import os, signal
from workers.system.libc import follow_parent
parent = os.getpid()
if os.fork() == 0:
    follow_parent(parent, signal.SIGTERM)
    print(os.getpid(), flush=True)
signal.pause()
"""


def test_errors() -> None:
    """A call that fails raises what the kernel said and what was tried; another's result is given."""
    with pytest.raises(OSError, match="closing nothing: Bad file descriptor") as raised:
        checked(LIBC.close(-1), "closing nothing")
    assert raised.value.errno == errno.EBADF
    assert checked(LIBC.getpid(), "asking who this is") == os.getpid()


def test_parent_that_ends() -> None:
    """Its child is sent the signal."""
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, _, _ = select.select([child], [], [], PATIENCE_SECONDS)
    os.close(child)
    assert ended


def test_parent_that_has_ended() -> None:
    """A child whose parent has gone before it could follow ends at once."""
    child = os.fork()
    if child == 0:
        follow_parent(os.getpid(), SIGTERM)  # nobody is the child of itself
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1


def test_sibling() -> None:
    """Its parent is ours; Python and the C library know that it is another process."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        os.register_at_fork(after_in_child=lambda: os.write(writer, b"forked"))
        if fork_sibling() == 0:
            place = ctypes.c_uint64()
            LIBC.prctl(PR_GET_TID_ADDRESS, ctypes.byref(place))
            number = ctypes.c_int.from_address(place.value).value
            os.write(writer, f" {os.getpid()} {number}".encode())
        os._exit(0)
    assert os.waitpid(between, 0) == (between, 0)
    os.close(writer)
    with FileIO(reader) as words:
        forked, pid, remembered = words.readall().decode().split()
    assert (forked, remembered) == ("forked", pid)
    assert os.waitpid(int(pid), 0) == (int(pid), 0)
