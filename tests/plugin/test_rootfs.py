"""The plugin's root file system and its definition: small, complete, and nothing of the machine that built it."""

import json
import os
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.lab.build import BUILD, PLUGIN, SIZE_LIMIT
from tests.lab.command import CommandFailed, run
from tests.lab.plugin import Plugin
from workers.contract.client_identity import ClientIdentity
from workers.dhcp4.udhcpc import ClientOptions

ROOTFS = PLUGIN / "rootfs"
PYTHON = ["/usr/bin/python3", "-I", "-OO"]
ENTRYPOINT = [*PYTHON, "-m", "supervisor.init"]
COMPILED = "from importlib.machinery import SourceFileLoader; SourceFileLoader.source_to_code = None"
SUPERVISOR = "import supervisor.__main__ as m; m.log.configure('INFO'); m.import_shared(); import supervisor.core"
SHARE = """
import os, sys
from supervisor.core import Supervisor
from supervisor.runtime.shared_memory import IMMORTAL, share_objects
resident = lambda: int(os.pread(0, 100, 0).split()[1])
before = resident()
share_objects()
more = resident() > before + 100
things = Supervisor.run, Supervisor.run.__code__.co_consts, []
print(*(sys.getrefcount(thing) == IMMORTAL for thing in things), more)
"""
MAC = "02:00:5e:00:53:01"
INSTALLERS = ("pip", "ensurepip", "setuptools", "apt", "dpkg", "apt-get")


def _files() -> Iterator[Path]:
    return (path for path in ROOTFS.rglob("*") if path.is_file() and not path.is_symlink())


def _inside(*argv: str) -> str:
    return run("chroot", ROOTFS, *argv)


def _loaded_by(module: str, before: str = "pass") -> set[str]:
    """The modules that its import adds to those that are there after the program `before`."""
    program = f"import sys; {before}; known = set(sys.modules); import {module}; print(*set(sys.modules) - known)"
    return set(_inside(*PYTHON, "-c", program).split())


def test_size() -> None:
    """Within the limit, every file counted."""
    assert sum(path.stat().st_size for path in _files()) / 1e6 < SIZE_LIMIT


def test_no_installer() -> None:
    """Nothing in it can install anything."""
    found = {str(path.relative_to(ROOTFS)) for path in ROOTFS.rglob("*") if path.stem in INSTALLERS}
    assert found == set()


def test_no_openssl() -> None:
    """Nothing there needs it, so none of the processes has it in its memory."""
    assert not {path.name for path in _files() if path.name.startswith(("libssl", "libcrypto"))}


def test_nothing_of_the_build_machine() -> None:
    """Neither a file of the machine's settings, nor one of their values in any file."""
    settings = list((BUILD / "host").iterdir())
    assert settings
    names = {path.name for path in settings}
    contents = {path.read_bytes() for path in settings}
    values = {line.strip().encode() for path in settings for line in path.read_text().splitlines()}
    telling = {value for value in values if b"://" in value}
    for path in _files():
        content = path.read_bytes()
        assert path.name not in names
        assert content not in contents
        assert not [value for value in telling if value in content]
    assert not (ROOTFS / "build").exists()


@pytest.mark.parametrize(
    "program", ["api.server", "supervisor.core", "supervisor.engine.watcher", "workers.entry.sleeper"]
)
def test_complete(program: str) -> None:
    """Each part of the plugin finds what it imports, in there and with Python isolated, and compiles none of it."""
    _inside(*PYTHON, "-c", f"{COMPILED}; import {program}")


def test_code_is_small() -> None:
    """It has neither columns nor docstrings: Python's own, the libraries' and ours."""
    program = (
        "import socket, falcon, supervisor.core as core; things = socket.socket, falcon.App, core.Supervisor; "
        "print([{position[2] for position in thing.__init__.__code__.co_positions()} for thing in things], "
        "[thing.__doc__ for thing in things])"
    )
    nothing = [None] * 3
    assert _inside(*PYTHON, "-c", program) == f"{[{None}] * 3} {nothing}"


def test_supervisor_loads_little() -> None:
    """Nothing that only a child of it needs, and no event loop: all workers carry what it has loaded."""
    loaded = _loaded_by("supervisor.core")
    assert not {"asyncio", "docker", "falcon", "gunicorn", "psutil", "_hashlib"}.intersection(loaded)


def test_nothing_is_loaded_twice() -> None:
    """What both the API and the watcher import was there before they were forked."""
    assert _loaded_by("api.server", SUPERVISOR) & _loaded_by("supervisor.engine.watcher", SUPERVISOR) == set()


def test_objects_are_shared() -> None:
    """What was there is not counted any more, so no fork writes into it; what comes later is, and Python ends well.

    What that takes meanwhile is given back: processes would share it, although it is free.
    """
    with_statm = 'exec chroot "$@" < /proc/self/statm'  # there is no /proc in there
    shown = run("sh", "-ec", with_statm, "sh", ROOTFS, *PYTHON, "-c", SHARE)
    assert shown.split() == ["True", "True", "False", "False"]


def test_packet_filter_is_read() -> None:
    """The image has all that it takes; a new namespace drops nothing."""
    program = (
        "from workers.diagnosis.firewall import drops_of_ip as drops; from workers.diagnosis.packet import discover; "
        "print(list(drops(discover('lo', 1))))"
    )
    assert run("unshare", "--net", "chroot", ROOTFS, *PYTHON, "-c", program) == "[]"


def test_event_script() -> None:
    """udhcpc's script can be executed by it, and the shell that it names is there."""
    (script,) = ROOTFS.rglob("udhcpc-event.sh")
    assert os.access(script, os.X_OK)
    assert _inside("/" + str(script.relative_to(ROOTFS)), "bound").startswith("bound\0ip=\0")


def test_udhcpc() -> None:
    """busybox has it, and it takes every option that the worker gives it: it ends at the interface's absence only."""
    options = ClientOptions("absent", ClientIdentity.of_mac(MAC, "name"), IPv4Address("192.0.2.7"))
    with pytest.raises(CommandFailed, match=r"absent.*(No such device|not found)"):
        run("unshare", "--net", "chroot", ROOTFS, "/usr/bin/busybox", *options.arguments())


def test_started_isolated(plugin: Plugin) -> None:
    """The definition, and the process that the engine has made of it."""
    assert json.loads((PLUGIN / "config.json").read_text())["entrypoint"] == ENTRYPOINT
    _, view = plugin.get("/v1/workers")
    (pid,) = [worker["pid"] for worker in view["workers"] if worker["role"] == "supervisor"]
    assert Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1] == ENTRYPOINT
