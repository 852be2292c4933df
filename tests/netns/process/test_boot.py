"""The host's power fails, and it starts anew: its containers come back, before their DHCP server or after it.

The plugin is killed, sandboxes and links go, and what is on disk becomes that of an earlier boot, as long ago as the
test says. Judged at the server, in the containers, and by what the plugin tells of them.
"""

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.netns.process.conftest import Squat
from tests.netns.process.fakeengine import Container
from tests.netns.process.instances import Instances, kill_all
from tests.netns.process.rig import Rig, at_once
from tests.netns.process.wire import Kind

HOUR = 3600
LEASE_TIMEOUT = "3s"  # of which starts with a server take little, also on a busy machine
NOISE = re.compile(r"^.*\b(?:WARNING|ERROR)\b.*$", re.MULTILINE)


@dataclass(slots=True)
class Host:
    """A host whose containers have an identity that outlives a boot: each is known by an id."""

    rig: Rig
    instances: Instances
    booted: int = 0

    def network(self, **options: str) -> str:
        """A network on which a start without a server fails soon."""
        return self.rig.network(lease_timeout=LEASE_TIMEOUT, ignore_conflicts="true", **options)

    def container(self, network: str, chosen: str) -> Container:
        """One that is not started yet."""
        container = self.rig.container(network)
        container.options["id"] = chosen
        return container

    def run(self, network: str, chosen: str) -> Container:
        """One whose lease is confirmed."""
        container = self.container(network, chosen)
        container.start()
        self.rig.wait_for_bound(container)
        return container

    def cut(self, seconds: float) -> None:
        """The power fails, and is back after so long."""
        self.instances.end(kill_all)
        while self.rig.containers:
            container = self.rig.containers.pop()
            container.remove_sandbox()
            links = run("ip", "-n", self.rig.machine.host, "-o", "link", "show")
            if container.link in links:
                run("ip", "-n", self.rig.machine.host, "link", "delete", container.link)
        become_old(self.instances.state / "state.db", seconds)
        self.booted = len(self.rig.plugin.log_file.read_text())
        self.instances.start()

    @property
    def log(self) -> str:
        """Since the boot."""
        return self.rig.plugin.log_file.read_text()[self.booted :]


def become_old(database: Path, seconds: float) -> None:
    """All that it holds was written so long ago, in an earlier boot."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in ("network", "endpoint", "lease", "binding"):
            for number, text in connection.execute(f"SELECT rowid, record FROM {table}").fetchall():  # noqa: S608  ours
                stored = json.loads(text)
                stored |= {"boot": "another", "booted": stored["booted"] - seconds}
                connection.execute(f"UPDATE {table} SET record = ? WHERE rowid = ?", (json.dumps(stored), number))  # noqa: S608


@pytest.fixture(name="host")
def _host(rig: Rig, instances: Instances) -> Host:
    return Host(rig, instances)


def bound(container: Container) -> bool:
    """Whether the plugin says so of all of its leases."""
    view = container.view
    return all(one["lease_state"] == "bound" for one in (view, view["ipv6"]) if one is not None)


def test_router_that_is_slower_than_the_host(rig: Rig, host: Host, server: DhcpServer, squat: Squat) -> None:
    """Leases that ran out meanwhile cost no container its start: with `expired=keep` it has its last addresses at once,
    unless another machine has them, and they are confirmed or changed when the server is back. With `expired=drop` it
    fails, and so does one that had no lease before."""
    rig.machine.serve_ipv6()
    dual = ServerOptions(ipv6=Ipv6Options())
    server.restart(dual)
    udhcpc, native = host.network(ipv6="true"), host.network(client="native")
    drop = host.network(client="native", expired="drop")
    chosen = {"both": udhcpc, "moved": udhcpc, "native": native, "taken": native, "dropped": drop}
    before = dict(zip(chosen, at_once(*(partial(host.run, of, name) for name, of in chosen.items())), strict=True))
    server.stop()
    squat(before["taken"].ip)
    host.cut(HOUR)
    after = {name: host.container(network, name) for name, network in {**chosen, "first": native}.items()}

    answers = dict(zip(after, at_once(*(container.create for container in after.values())), strict=True))

    started = {name: after[name] for name, answer in answers.items() if answer.status == 200}
    assert list(started) == ["both", "moved", "native"]
    assert all("no DHCPOFFER on" in answers[name].error for name in ("first", "dropped", "taken"))
    assert f"and the last address, {before['taken'].ip}, is in use by " in answers["taken"].error
    for name, container in started.items():
        expect_last_addresses(container, before[name])
    assert host.log.count("no server answers; starting on") == 5  # one a lease
    assert not rig.engine.get("/healthz")["healthy"]

    give_away(server, before["moved"].mac)
    server.start(dual)
    for container in started.values():
        wait_until(lambda c=container: bound(c), "a confirmation", 60)  # type: ignore[misc]
    for name in ("both", "native"):
        assert (after[name].inet, after[name].inet6) == addresses(before[name])
    (address,) = after["moved"].inet
    assert f"address changed from {before['moved'].address} to {address}" in host.log
    assert [f"{lease.address}/24" for lease in server.leases() if lease.mac == after["moved"].mac] == [address]
    wait_until(lambda: rig.engine.get("/healthz")["healthy"], "a healthy plugin")
    rig.clean()
    forget(server)


def addresses(container: Container) -> tuple[list[str], list[str]]:
    """What Docker was told, as lists of both families."""
    return [container.address], [container.address6] if container.address6 else []


def expect_last_addresses(container: Container, before: Container) -> None:
    """It has what the former one had, without a server's word, and the plugin says so."""
    assert (container.mac, addresses(container)) == (before.mac, addresses(before))
    container.attach(container.join())
    wait_until(lambda: container.view["phase"] == "joined", "the worker in the sandbox")
    view = container.view
    for lease in (one for one in (view, view["ipv6"]) if one is not None):
        assert lease["lease_state"] == "expired"
        renewed, expires = (datetime.fromisoformat(lease[name]) for name in ("renewed", "expires"))
        assert renewed < expires < datetime.now(UTC)
        assert "no server has answered yet" in lease["last_trouble"]
    wait_until(lambda: (container.inet, container.inet6) == addresses(before), "the addresses")


def give_away(server: DhcpServer, mac: str) -> None:
    """Another machine has got that one's IPv4 lease."""
    lines = server.lease_file.read_text().replace(f"01:{mac}", "*").replace(f" {mac} ", " 02:00:00:00:00:99 ")
    server.lease_file.write_text(lines)


def test_cut_in_the_middle_of_a_boot(rig: Rig, host: Host, server: DhcpServer) -> None:
    """What had been made, and what ran, waits for its container, however long ago it was. Each comes back on its lease
    by one REQUEST, nothing is released, and the log has no warning and tells of no search."""
    server.restart(ServerOptions(lease_time=2 * HOUR))
    network = host.network()
    before = {name: host.container(network, name) for name in ("made", "joined")}
    for container in before.values():
        assert container.create().status == 200
    before["joined"].join()
    before["ran"] = host.run(network, "ran")

    host.cut(HOUR)
    frames = len(rig.capture.frames())
    host.run(network, "other")
    after = {name: host.run(network, name) for name in before}

    for name, container in before.items():
        assert (after[name].mac, after[name].address) == (container.mac, container.address)
        first = next(frame for frame in rig.capture.frames()[frames:] if frame.mac == container.mac)
        assert first.packet.kind is Kind.REQUEST
    assert not rig.capture.frames(kind=Kind.RELEASE)
    assert len(server.leases()) == len(before) + 1
    assert "the host has rebooted: the leases of 3 endpoints wait for their containers" in host.log
    assert "found again" not in host.log
    assert NOISE.findall(host.log) == []


def forget(server: DhcpServer) -> None:
    """The server's leases go: a container that did not come back is no leak."""
    server.stop()
    server.lease_file.unlink()
    server.start()
