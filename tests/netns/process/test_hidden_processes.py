"""A /proc that shows each user only processes of their own (hidepid=2), to a process with the plugin's capabilities."""

import json
import sys
from pathlib import Path

from tests.lab.command import run
from tests.netns.process.plugin import REPOSITORY
from tests.netns.process.rig import EngineDaemon

CAPABILITIES = "".join(
    f",+{name.removeprefix('CAP_').lower()}"
    for name in json.loads((REPOSITORY / "config.json").read_text())["linux"]["capabilities"]
)
SCRIPT = f"""
mount -t proc -o hidepid=2 proc /proc
exec setpriv --bounding-set=-all{CAPABILITIES} --no-new-privs "$@"
"""
LOOK = """
import psutil, sys
from supervisor.engine.facts import Engine, EngineFound
from supervisor.engine.daemon import find_daemon
from supervisor.ops.sampling import sample
pid = find_daemon(sys.argv[1])
engine = Engine()
engine.learn(EngineFound(pid))
print(pid, engine.path("/etc/../etc"), sample(psutil.Process(pid)).name)
"""


def test_engine_is_found(tmp_path: Path) -> None:
    """The plugin finds dockerd, sees the file system as dockerd does, and samples it: CAP_SYS_PTRACE is enough."""
    daemon = EngineDaemon(tmp_path)
    try:
        python = ["env", f"--chdir={REPOSITORY}", sys.executable, "-c", LOOK, str(tmp_path / "docker.sock")]
        pid, seen, name = run("unshare", "--mount", "sh", "-ec", SCRIPT, "sh", *python).split()
    finally:
        daemon.stop()
    assert (seen, name) == (f"/proc/{pid}/root/etc", "dockerd")
