"""The built plugin's root file system: commands run in it as the engine runs the plugin, but without an engine.

Owns the mounts, which end with the command's process. Must not know what is run there.
"""

import os
from pathlib import Path

from tests.lab.build import BUILD, PLUGIN
from tests.lab.command import MACHINE

FROM_SOURCE = "FROM_SOURCE" in os.environ  # for one test while it is written: the sources, by the tests' interpreter
INTERPRETER = ("/usr/bin/python3", "-I", "-OO")
# Where config.json and the plugin's defaults have them.
ENGINE_DIRECTORY, SOCKET_DIRECTORY, STATE_DIRECTORY = "/run/host", "/run/docker/plugins", "/var/lib/net-dhcp"
SOCKET = "net-dhcp.sock"
# The interpreter finds one package more, which records the lines that run (`lines.py`); what measures memory has none.
RECORDS_LINES = False
LINES, LINES_INSIDE = BUILD / "lines", "/run/lines"
RECORD = f"""
mkdir .{LINES_INSIDE}; mount --bind {LINES} .{LINES_INSIDE}
site=$(echo usr/local/lib/python3*/dist-packages)
mount -t overlay -o ro,lowerdir={LINES}/site:$site none $site
"""
SCRIPT = f"""
cd "$0"; mount --bind . .; cd "$0"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/docker/plugins .{MACHINE}
while [ "$1" != -- ]; do mkdir -p ".$2"; mount --rbind "$1" ".$2"; shift 2; done
shift
RECORD
pivot_root . .{MACHINE}
cd /
exec "$@"
"""
# The machine's mounts would keep network namespaces alive that tests remove.
ALONE = f'busybox umount -l {MACHINE}; busybox rmdir {MACHINE}; exec "$@"'


def missing() -> str | None:
    """What keeps tests from running what ships; nothing does where they run the sources, or are in the root already."""
    built = (PLUGIN / "rootfs").is_dir() or FROM_SOURCE or Path(MACHINE).is_dir()
    return None if built else "build/plugin is missing: `make plugin` builds what these tests run"


def in_rootfs(*argv: str, mounts: dict[str, Path], with_machine: bool = False, definition: Path = PLUGIN) -> list[str]:
    """The command line that runs `argv` in the root file system of a built plugin, in which `mounts` are visible.

    Its process is that of `argv` in the end. The machine's own root is only there `with_machine`.
    """
    pairs = [word for inside, outside in mounts.items() for word in (str(outside), inside)]
    script = SCRIPT.replace("RECORD", RECORD if RECORDS_LINES and definition == PLUGIN else "")
    unshare = ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", script, str(definition / "rootfs")]
    end = [] if with_machine else ["/usr/bin/busybox", "sh", "-ec", ALONE, "sh"]
    return [*unshare, *pairs, "--", *end, *argv]


def plugin_mounts(directory: Path) -> dict[str, Path]:
    """What the engine mounts: `directory` has the engine's socket, gets the plugin's, and holds its state."""
    state = directory / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    return {ENGINE_DIRECTORY: directory, SOCKET_DIRECTORY: directory, STATE_DIRECTORY: state}
