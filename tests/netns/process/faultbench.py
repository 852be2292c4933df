"""One plugin on a machine of its own to which anything may be done: killed and started again, its disk filled.

Owns what must be true of it between two faults. Must not know which faults there are.
"""

import errno
import resource
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.lab.command import PATIENCE_SECONDS, NotReached, run, wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.leaks import Belongings
from tests.lab.network import BRIDGE, LAN, MACHINE
from tests.netns.process.hurried import with_constants
from tests.netns.process.instances import kill_supervisor
from tests.netns.process.leasepool import LeasePool
from tests.netns.process.plugin import NAMES, PluginProcess, settled
from tests.netns.process.rig import Rig, rig_in
from tests.netns.process.scripted import scripted_server

DISK_BYTES = 16 << 20
ONLY_IPV6 = ServerOptions(ipv6=Ipv6Options(), ipv4=False)
HURRIED = {
    "supervisor.core.TICK_SECONDS": 0.25,
    "supervisor.endpoint.endpoint.RECHECK_SECONDS": 0.5,
    "supervisor.state.bindings.COMEBACK_SECONDS": 0.5,  # for a lease that nobody comes for
}
HASTY = HURRIED | {"supervisor.endpoint.endpoint.JOIN_SECONDS": 2.0}  # for an endpoint that nobody joins


@dataclass(slots=True)
class Bench:
    """The plugin, its LAN's servers and its disk. `before` is what it held when nothing had been asked of it yet.

    `pool` is the IPv4 server's, `server6` speaks IPv6 only.
    """

    rig: Rig
    pool: LeasePool
    server6: DhcpServer
    directory: Path
    before: Belongings
    read: int = field(default=0)

    @property
    def log(self) -> str:
        """What has been printed since `begin`."""
        return self.rig.plugin.log[self.read :]

    def begin(self) -> None:
        """A new log."""
        self.read = len(self.rig.plugin.log)

    def restart(self) -> None:
        """`kill -9` of the supervisor, which takes its children along, and the next instance on the same state."""
        tree = self.rig.plugin.tree()
        kill_supervisor(self.rig.plugin)
        self.rig.plugin.process.wait()
        _, left = psutil.wait_procs(tree, timeout=PATIENCE_SECONDS)
        assert not left, left
        self.rig.plugin = plugin = PluginProcess(self.rig.machine, self.directory)
        wait_until(plugin.connectable, "the plugin's socket")

    def silence(self) -> None:
        """No server answers any more."""
        self.pool.silent = True
        self.server6.stop()

    def serve(self) -> None:
        """They answer again."""
        self.pool.silent = False
        if self.server6.process is None:
            self.server6.start(ONLY_IPV6)

    @property
    def _ballast(self) -> Path:
        return self.directory / "state" / "ballast"

    def fill_disk(self) -> None:
        """No further byte can be written; SQLite's log is emptied first, as there is room in it otherwise."""
        with closing(sqlite3.connect(self.directory / "state" / "state.db")) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while ballast.write(bytes(4096)):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free_disk(self) -> None:
        """There is room again, and the plugin has used it."""
        if self._ballast.exists():
            self._ballast.unlink()
            wait_until(lambda: self._health["healthy"], "a state on disk again")

    def exhaust(self) -> None:
        """The supervisor can open no descriptor any more."""
        _limit_descriptors(self.rig.plugin.supervisor, 1)

    def relieve(self) -> None:
        """It can again, and has what it had."""
        supervisor = self.rig.plugin.supervisor
        _, most = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
        _limit_descriptors(supervisor, most)
        wait_until(lambda: self.rig.plugin.pids(NAMES["spare"]), "the spare worker")

    def remove_bridge(self) -> None:
        """With the LAN's cable in it."""
        run("ip", "-n", self.rig.machine.host, "link", "delete", BRIDGE)

    def restore_bridge(self) -> None:
        """As it was, but that containers' links are not plugged in again."""
        host = self.rig.machine.host
        if BRIDGE not in self.rig.machine.links():
            run("ip", "-n", host, "link", "add", BRIDGE, "type", "bridge", "stp_state", "0")
            run("ip", "-n", host, "address", "add", f"{MACHINE}/{LAN.prefixlen}", "dev", BRIDGE)
            run("ip", "-n", host, "link", "set", BRIDGE, "up")
            run("ip", "-n", host, "link", "set", "uplink", "master", BRIDGE)
            forwarding = "state forwarding"
            wait_until(lambda: forwarding in run("bridge", "-n", host, "link", "show"), "the cable")

    @property
    def _health(self) -> dict[str, object]:
        answer: dict[str, object] = self.rig.engine.get("/healthz")
        return answer

    @property
    def networks(self) -> int:
        """How many the plugin knows."""
        return int(str(self._health["networks"]))

    def left(self) -> list[str]:
        """What is there that should not be; empty if there is nothing."""
        found = [f"lease of {mac}" for mac in self.pool.leases]
        found += [f"IPv6 lease of {lease.duid}" for lease in self.server6.leases6()]
        health = self._health
        found += [f"{health[what]} {what}" for what in ("endpoints", "networks") if health[what]]
        found += [f"problem: {problem}" for problem in health["problems"]]  # type: ignore[attr-defined]  # a list
        found += self._rows()
        return found + self.rig.plugin.belongings().more_than(self.before)

    def _rows(self) -> list[str]:
        with closing(sqlite3.connect(f"file:{self.directory}/state/state.db?mode=ro", uri=True)) as database:
            tables = ("endpoint", "network", "binding WHERE record -> '$.record.leases' <> '{}'")
            counts = {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}  # noqa: S608
        return [f"{count} rows in {table}" for table, count in counts.items() if count]

    def assert_nothing_left(self) -> None:
        """Within moments: no link, row, process, descriptor, lease at the server; and no traceback in the log."""
        left: list[str] = []

        def nothing() -> bool:
            left[:] = self.left()
            return not left

        with suppress(NotReached):  # the assertion shows what is left
            wait_until(nothing, "nothing", interval=0.1)
        assert not left, "\n".join((*left, self.log))
        assert "Traceback" not in self.log, self.log


def _limit_descriptors(pid: int, number: int) -> None:
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (number, most))


@contextmanager
def bench_in(directory: Path, constants: Mapping[str, float]) -> Iterator[Bench]:
    """Its disk is a small one; the plugin has these constants."""
    state = directory / "state"
    state.mkdir(mode=0o700)
    run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", state)
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("tests.netns.process.plugin.PROGRAM", with_constants(constants))
            with rig_in(directory) as rig, scripted_server(rig.machine.lan, pool := LeasePool()):
                assert len(rig.plugin.pids(NAMES["api"])) == 2
                rig.machine.serve_ipv6()
                server6 = DhcpServer(directory / "dhcp", rig.machine.lan)
                server6.start(ONLY_IPV6)
                yield Bench(rig, pool, server6, directory, settled(rig.plugin, rig.engine))
                server6.stop()
                if rig.plugin.running:
                    rig.plugin.stop()
    finally:
        run("umount", state)
