"""Namespaces are entered and left for good, and sysctls made writable for nobody but ourselves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.lan import shell
from workers.system.namespaces import current, is_abandoned, new_namespace, open_namespace

pytestmark = pytest.mark.netns

READ_ONLY_SYSCTLS = """
busybox mount --bind /proc/sys /proc/sys
busybox mount -o remount,bind,ro,nosuid,nodev,noexec /proc/sys
busybox unshare --net "$@"
! (echo 1 > /proc/sys/net/ipv4/conf/lo/promote_secondaries)
"""
WRITE_ONE = """
from pathlib import Path
from workers.system.namespaces import make_sysctls_writable
setting = Path("/proc/sys/net/ipv4/conf/lo/promote_secondaries")
try:
    setting.write_text("1")
except OSError as error:
    print(error.strerror)
make_sysctls_writable()
setting.write_text("1")
print(setting.read_text().strip())
mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
print(next(mount[5] for mount in mounts if mount[4] == "/proc/sys"))
"""


def inode() -> int:
    return Path("/proc/self/ns/net").stat().st_ino


def test_visit_returns_home_after_an_exception() -> None:
    """Whatever goes wrong in there, the process is back where it was."""
    home = inode()

    def fail() -> None:
        assert inode() != home
        raise LookupError

    with new_namespace() as other, pytest.raises(LookupError), other.visit():
        fail()

    assert inode() == home


def test_new_namespace_leaves_the_caller_where_it_is() -> None:
    """Making one is not entering it."""
    home = inode()

    with new_namespace():
        assert inode() == home


def test_entering_is_for_good() -> None:
    """`enter` lasts until another namespace is entered."""
    with current() as home, new_namespace() as other:
        other.enter()
        inside = inode()
        home.enter()

        assert inside != inode()


def test_absent_namespace(tmp_path: Path) -> None:
    """A path that is not there yet is an OSError, for callers that wait for it."""
    with pytest.raises(FileNotFoundError):
        open_namespace(str(tmp_path / "absent"))


def test_sysctls_become_writable_for_us_alone() -> None:
    """A read-only /proc/sys is opened for us, keeps its other restrictions, and stays closed for our parent."""

    said = shell(READ_ONLY_SYSCTLS, sys.executable, "-c", WRITE_ONE).splitlines()

    assert said[:2] == ["Read-only file system", "1"]
    assert set(said[2].split(",")) >= {"rw", "nosuid", "nodev", "noexec"}


def test_abandoned(tmp_path: Path) -> None:
    """A namespace is abandoned when no file leads to it and only we and our children are in it."""
    elsewhere, forked = tmp_path / "nothing", "busybox sleep 60 & echo; wait"
    with new_namespace() as namespace, namespace.visit():
        assert is_abandoned(str(elsewhere))
        assert not is_abandoned("/proc/self/ns/net")
        child = subprocess.Popen(["sh", "-c", forked], stdout=subprocess.PIPE, start_new_session=True)
        try:
            assert child.stdout is not None
            child.stdout.readline()  # its own child runs
            assert not is_abandoned(str(elsewhere))
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
        assert is_abandoned(str(elsewhere))
