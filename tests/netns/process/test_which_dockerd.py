"""Which of the processes called dockerd is the engine: the one that has the engine's socket open."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.lab.dhcp import DhcpServer
from tests.netns.process.rig import Rig

NOBODY = 65534
IMPOSTOR = """
import os, sys
open("/proc/self/comm", "w").write("dockerd")
if sys.argv[1:]:
    os.chroot(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
"""
PROGRAM = ("/usr/bin/python3", "-I", "-c", IMPOSTOR)


@contextmanager
def impostor(*argv: str, knows: socket.socket | None = None, user: int = 0) -> Iterator[None]:
    """Another process called dockerd; it may have inherited the engine's socket."""
    given = () if knows is None else (knows.fileno(),)
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, pass_fds=given, user=user, cwd="/") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        assert process.stdin is not None
        process.stdin.close()  # it ends by that


def foreign_root(directory: Path) -> str:
    """A root with an engine's data of which a reader would wait for ever."""
    container = directory / "root" / "var" / "lib" / "docker" / "containers" / ("c" * 64)
    container.mkdir(parents=True)
    os.mkfifo(container / "config.v2.json")
    return str(directory / "root")


@pytest.mark.usefixtures("alone")
def test_socket_that_systemd_has_made(rig: Rig, server: DhcpServer, tmp_path: Path) -> None:
    """dockerd is found although another process has made its socket, and other ones are called dockerd: one of a user,
    one of another PID namespace, both with the very socket open, and one of root with a root of its own."""
    rig.daemon.stop()
    path = rig.directory / "docker.sock"
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen()
        listener.set_inheritable(True)
        stack.enter_context(impostor(*PROGRAM, knows=listener, user=NOBODY))
        stack.enter_context(impostor("unshare", "--pid", "--fork", *PROGRAM, knows=listener))
        stack.enter_context(impostor(*PROGRAM, foreign_root(tmp_path)))
        rig.daemon.start(made=listener)

        container = rig.joined()

        rig.renew(container)
        rig.clean()
