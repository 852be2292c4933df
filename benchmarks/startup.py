"""How soon the plugin is there: from its enabling in the engine to its first answer, and from its exec to its socket.

Must not know how figures are shown.
"""

import subprocess
import time
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contenders import NETWORKS, Contenders
from benchmarks.endpoint import CallFailed
from benchmarks.figures import NONE, Figures, rounds
from benchmarks.life import CONTAINER, timed_run
from benchmarks.rootfs import RootfsPlugin
from benchmarks.rows import ENABLE, LISTEN, MEMORY_NEW
from benchmarks.sizes import Sizes
from benchmarks.tree import pss_megabytes
from tests.lab.command import wait_until
from tests.lab.containers import Container
from tests.lab.network import Network
from tests.lab.plugin import Plugin
from tests.lab.unix_http import ask

PATIENCE_SECONDS = 20.0


def measure_starts(contenders: Contenders, sizes: Sizes, figures: Figures) -> None:
    """Starts each plugin so many times, in turn with the container without network that it is compared with.

    The plugins have no networks yet, or the engine would refuse to disable them.
    """
    for order in rounds((*contenders.plugins, NONE), sizes.starts):
        for contender in order:
            time.sleep(sizes.pause)
            if contender == NONE:
                run = timed_run(contenders.docker, NETWORKS[NONE], CONTAINER)
                Container(contenders.docker, CONTAINER).remove()
                figures.add(ENABLE, NONE, run)
                figures.add(LISTEN, NONE, run)
                continue
            plugin = contenders.plugins[contender]
            contenders.docker("plugin", "disable", plugin.name)
            time.sleep(sizes.pause)
            figures.add(ENABLE, contender, _enabled(plugin))
            figures.add(MEMORY_NEW, contender, pss_megabytes(plugin.processes()))
            time.sleep(sizes.pause)
            figures.add(LISTEN, contender, _listening(contenders.lab.network, contenders.definitions[contender]))


def _listening(machine: Network, definition: Path) -> float:
    """Milliseconds from exec to the socket of a plugin without any state."""
    with TemporaryDirectory() as directory:
        plugin = RootfsPlugin(machine, Path(directory), definition)
        try:
            return plugin.start()
        finally:
            plugin.stop()


def _enabled(plugin: Plugin) -> float:
    """Milliseconds from the start of `docker plugin enable` to the answer of /healthz, in which all processes share.

    The command itself returns later: the engine dials a plugin for the first time after half a second.
    """
    began = time.perf_counter()
    with subprocess.Popen(plugin.docker.argv("plugin", "enable", plugin.name), stdout=subprocess.DEVNULL) as command:
        wait_until(lambda: _healthy(plugin.socket_path), "the plugin's first answer", PATIENCE_SECONDS, interval=0.002)
        took = (time.perf_counter() - began) * 1000
    if command.returncode:
        raise CallFailed(f"docker plugin enable: exit status {command.returncode}")
    return took


def _healthy(socket: Path) -> bool:
    """Waits for the answer where the socket takes the connection."""
    try:
        return ask(socket, "GET", "/healthz")[0] == HTTPStatus.OK
    except OSError:
        return False  # nobody listens yet
