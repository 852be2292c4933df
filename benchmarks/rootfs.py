"""The plugin in its own root file system, as the image's entry point says but without an engine around it.

Must not know who calls the plugin.
"""

import json
import socket
import subprocess
import time
from pathlib import Path

import psutil

from tests.lab.command import wait_until
from tests.lab.network import Network, inside
from tests.lab.process import Process
from tests.lab.rootfs import ENGINE_DIRECTORY, SOCKET, in_rootfs, plugin_mounts

# Everything is ready before the line comes that starts it, so that the clock begins at exec.
WHEN_TOLD = f': > {ENGINE_DIRECTORY}/ready; read -r go; exec "$@"'
STOP_SECONDS = 10.0


class RootfsPlugin:
    """The supervisor and all below it, on a machine of the laboratory; socket, log and state are in `directory`.

    `definition` is the built plugin: config.json and rootfs.
    """

    def __init__(self, machine: Network, directory: Path, definition: Path) -> None:
        self.socket = directory / SOCKET
        self._ready = directory / "ready"
        entry_point = json.loads((definition / "config.json").read_text())["entrypoint"]
        command = ["/usr/bin/busybox", "sh", "-ec", WHEN_TOLD, "sh", *entry_point]
        with (directory / "plugin.log").open("ab") as log:
            self._process = subprocess.Popen(
                inside(machine.host, *in_rootfs(*command, mounts=plugin_mounts(directory), definition=definition)),
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def start(self) -> float:
        """Milliseconds from exec until the socket takes connections."""
        wait_until(self._ready.exists, "the mounts of the plugin's root file system", STOP_SECONDS)
        assert self._process.stdin is not None
        began = time.perf_counter()
        self._process.stdin.write(b"go\n")
        self._process.stdin.close()
        wait_until(self._listens, "the plugin's socket", STOP_SECONDS, interval=0.001)
        return (time.perf_counter() - began) * 1000

    def processes(self) -> list[Process]:
        """All of them, as they are now."""
        supervisor = psutil.Process(self._process.pid)
        pids = [supervisor.pid, *(child.pid for child in supervisor.children(recursive=True))]
        return [process for pid in pids if (process := Process.of(pid))]

    def stop(self) -> None:
        """As the engine stops a plugin; also where it has ended already."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0
