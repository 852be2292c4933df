"""How soon the plugin is there: from its enabling in the engine to its first answer, and from its exec to its socket.

Must not know how figures are shown.
"""

import subprocess
import time
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import OURS, Figures
from benchmarks.rootfs import RootfsPlugin
from benchmarks.rows import ENABLE, LISTEN, MEMORY_NEW
from benchmarks.socket_calls import CallFailed
from benchmarks.tree import pss_megabytes
from tests.lab.command import wait_until
from tests.lab.network import Network
from tests.lab.plugin import Plugin, UnixConnection

PATIENCE_SECONDS = 20.0


def measure_enabling(plugin: Plugin, starts: int, figures: Figures) -> None:
    """Disabled and enabled so many times; the plugin has no networks yet, or the engine would refuse."""
    for _ in range(starts):
        plugin.docker("plugin", "disable", plugin.name)
        figures.add(ENABLE, OURS, _enabled(plugin))
        figures.add(MEMORY_NEW, OURS, pss_megabytes(process.pid for process in plugin.processes()))


def measure_listening(machine: Network, starts: int, figures: Figures) -> None:
    """Started so many times, each time without any state."""
    for _ in range(starts):
        with TemporaryDirectory() as directory:
            plugin = RootfsPlugin(machine, Path(directory))
            try:
                figures.add(LISTEN, OURS, plugin.start())
            finally:
                plugin.stop()


def _enabled(plugin: Plugin) -> float:
    """Milliseconds from the start of `docker plugin enable` to the answer of /healthz, in which all processes share.

    The command itself returns later: the engine dials a plugin for the first time after half a second.
    """
    directory = plugin.socket_directory  # asked for once: it takes a docker command
    began = time.perf_counter()
    with subprocess.Popen(plugin.docker.argv("plugin", "enable", plugin.name), stdout=subprocess.DEVNULL) as command:
        wait_until(lambda: _healthy(directory), "the plugin's first answer", PATIENCE_SECONDS, interval=0.002)
        took = (time.perf_counter() - began) * 1000
    if command.returncode:
        raise CallFailed(f"docker plugin enable: exit status {command.returncode}")
    return took


def _healthy(directory: Path) -> bool:
    """Waits for the answer where the socket takes the connection."""
    connection = UnixConnection(directory)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == HTTPStatus.OK
    except OSError:
        return False  # nobody listens yet
    finally:
        connection.close()
