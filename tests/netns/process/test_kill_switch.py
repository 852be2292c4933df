"""Containers whose own firewall drops what it does not know, as the kill switches of VPNs do, keep their leases."""

import itertools
import os
import signal
from pathlib import Path

from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.netns.process.fakeengine import Container
from tests.netns.process.rig import Rig
from tests.netns.process.scripted import scripted_server, to_each_its_own
from tests.netns.process.wire import Kind, Option

HOOKS = (("output",), ("input",), ("output", "input"))
T1, T2 = 4, 8  # seconds, for our own client; udhcpc does not know them
SHORT: dict[int, bytes | None] = {Option.RENEWAL_TIME: T1.to_bytes(4), Option.REBINDING_TIME: T2.to_bytes(4)}


def drop_all(container: Container, *hooks: str) -> None:
    """The container's firewall drops every packet of both families there."""
    container.inside("nft", "add table inet kill")
    for hook in hooks:
        container.inside("nft", f"add chain inet kill {hook} {{ type filter hook {hook} priority 0; policy drop; }}")


def test_firewall_in_the_container(rig: Rig) -> None:
    """Whoever renews asks all servers past the firewall, is answered past it, and so the lease goes on.

    The firewall drops what the container sends, what it gets, or both.
    """
    with scripted_server(rig.machine.lan, to_each_its_own(600, SHORT)):
        networks = {client: rig.network(ignore_conflicts="true", client=client) for client in ("udhcpc", "native")}
        containers = {rig.joined(network): client for client, network in networks.items() for _ in HOOKS}
        discovers = len(rig.capture.frames(kind=Kind.DISCOVER))
        before = {}
        for (container, client), hooks in zip(containers.items(), itertools.cycle(HOOKS), strict=False):
            drop_all(container, *hooks)
            before[container] = rig.confirmations(container)
            if client == "udhcpc":
                os.kill(container.view["udhcpc_pid"], signal.SIGUSR1)  # renew now
        for container, times in before.items():
            wait_until(lambda c=container: rig.asked_all(c), "a question to all servers", 60)  # type: ignore[misc]
            wait_until(lambda c=container, n=times: rig.confirmations(c) > n, "its answer", 60)  # type: ignore[misc]

        assert all(container.inet == [container.address] for container in containers)
        assert len(rig.capture.frames(kind=Kind.DISCOVER)) == discovers
        for container in containers:
            container.inside("nft", "delete table inet kill")
        rig.clean()


def test_firewall_and_ipv6(rig: Rig, tmp_path: Path) -> None:
    """An IPv6 lease is renewed past a firewall that drops all."""
    rig.machine.serve_ipv6()
    server = DhcpServer(tmp_path / "dhcp", rig.machine.lan)
    server.start(ServerOptions(ipv6=Ipv6Options()))
    container = rig.joined(rig.network(ipv6="true"))
    drop_all(container, "output", "input")
    rig.restart_worker(container)

    wait_until(lambda: server.kinds6(container.duid)[-2:] == ["RENEW", "REPLY"], "an answered renewal")
    assert container.address6 in container.inet6
    container.inside("nft", "delete table inet kill")
    rig.clean()
    server.stop()
