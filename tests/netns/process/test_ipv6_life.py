"""An IPv6 lease from its first renewal to its end: servers that die, forget and renumber."""

import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Interface, IPv6Network
from pathlib import Path

import pytest

from tests.lab.command import wait_until
from tests.lab.kea6 import Kea6, Kea6Options
from tests.netns.process.fakeengine import INTERFACE, Container
from tests.netns.process.instances import history
from tests.netns.process.rig import Rig

SHORT = Kea6Options(valid=16, preferred=12, renewal=3, rebinding=6)
BRISK = Kea6Options(valid=60, preferred=40, renewal=2, rebinding=5)
OTHER = IPv6Network("fd00:88::/64")


@pytest.fixture
def kea(rig: Rig, tmp_path: Path) -> Iterator[Kea6]:
    """Not started yet; at the end all containers go before it."""
    rig.machine.serve_ipv6()
    kea = Kea6(tmp_path / "kea", rig.machine.lan)
    yield kea
    rig.clean()
    kea.stop()


def started(rig: Rig, **options: str) -> Container:
    """A container on a network without IPv4 that has its leased address."""
    container = rig.container(rig.network(ipv6="only", ignore_conflicts="true", **options))
    container.start()
    wait_until(lambda: container.view["phase"] == "joined", "the worker in the sandbox")
    assert container.inet6 == [container.address6]
    return container


def lifetimes(container: Container) -> str:
    """Of the address that the engine has configured, as `ip` writes them."""
    text = container.inside("ip", "-6", "addr", "show", "dev", INTERFACE, "to", container.address6)
    return text.partition("valid_lft")[2]


def wait_for_state(containers: list[Container], state: str, timeout: float) -> None:
    """Until the plugin says of each that its lease is in this state."""
    wait_until(lambda: all(c.view6["lease_state"] == state for c in containers), f"leases that are {state}", timeout)


def test_renewed_expired_and_back(rig: Rig, kea: Kea6) -> None:
    """The lease is renewed at T1. At the end of one that nobody renews `keep` leaves the address on the link, although
    the kernel would take it off, and `drop` takes it off; both have a lease again soon after the server's return."""
    kea.start(SHORT)
    keep, drop = started(rig), started(rig, expired="drop")
    both = [keep, drop]
    for container in both:
        wait_until(lambda c=container: "RENEW" in kea.kinds(c.duid), "a renewal")  # type: ignore[misc]
        assert kea.kinds(container.duid).count("SOLICIT") == 1
    kea.stop()

    wait_until(lambda: not drop.inet6, "an empty link")
    wait_for_state(both, "expired", 30)
    assert keep.inet6 == [keep.address6]
    assert "forever" in lifetimes(keep)
    assert not rig.engine.get("/healthz")["healthy"]
    wait_until(lambda: history(rig.directory, keep)[-2:] == ["no answer", "expired"], "the same in the history")

    kea.start(SHORT)
    wait_for_state(both, "bound", 30)
    for container in both:
        wait_until(lambda c=container: c.inet6 == [c.address6], "the address")  # type: ignore[misc]
        assert re.search(r"(\d+)sec", lifetimes(container))
    wait_until(lambda: rig.engine.get("/healthz")["healthy"], "a healthy plugin")


def test_another_server_rebinds(rig: Rig, kea: Kea6, tmp_path: Path) -> None:
    """After T2 any server may renew the lease; the one that does is its server from then on."""
    kea.start(BRISK)
    container = started(rig)
    first = container.view6["server"]
    kea.kill()
    second = Kea6(tmp_path / "second", rig.machine.lan, identifier="9876543210")
    second.start(BRISK)
    try:
        wait_until(lambda: container.view6["server"] != first, "another server")
        assert "SOLICIT" not in second.kinds(container.duid)
        assert second.kinds(container.duid)[:2] == ["REBIND", "REPLY"]
        wait_until(lambda: container.inet6 == [container.view6["address"]], "its address")
        wait_until(lambda: "RENEW" in second.kinds(container.duid), "a renewal")
        rig.clean()
        wait_until(lambda: not second.leases(), "the release")
    finally:
        second.stop()


def test_server_that_lost_its_leases(rig: Rig, kea: Kea6) -> None:
    """A server that does not know the lease any more grants it anew, and the address does not leave the link."""
    kea.start(BRISK)
    container = started(rig)
    kea.stop()
    kea.lease_file.unlink()
    kea.start(BRISK)
    wait_until(kea.leases, "a lease at the server")
    assert [(lease.address, lease.duid) for lease in kea.leases()] == [(container.ip6, container.duid)]
    assert container.inet6 == [container.address6]


def test_renumbered_by_the_server(rig: Rig, kea: Kea6) -> None:
    """The server has another prefix since last night: the container has the new address alone, and all say so."""
    kea.start(BRISK)
    container = started(rig)
    kea.restart(replace(BRISK, network=OTHER))
    wait_until(lambda: IPv6Interface(container.view6["address"]).ip in OTHER, "another prefix")
    assert container.inet6 == [container.view6["address"]]
    changed = f"address changed from {container.address6} to {container.inet6[0]}"
    assert changed in rig.plugin.log
    assert history(rig.directory, container)[-1] == "changed"
    assert [str(lease.address) for lease in kea.leases() if lease.address in OTHER] == [
        str(IPv6Interface(container.inet6[0]).ip)
    ]


def test_successor_late_in_a_lease(rig: Rig, kea: Kea6) -> None:
    """With `keep` the address also stays if the worker that reported the silence dies just before the lease's end, or
    if somebody takes the link down and up after it."""
    kea.start(SHORT)
    container = started(rig)
    kea.stop()
    wait_until(lambda: "forever" in lifetimes(container), "the report of a silence", SHORT.valid)
    rig.restart_worker(container)
    wait_for_state([container], "expired", SHORT.valid)
    assert "forever" in lifetimes(container)
    container.inside("ip", "link", "set", INTERFACE, "down")
    assert not container.inet6
    container.inside("ip", "link", "set", INTERFACE, "up")
    wait_until(lambda: container.inet6 == [container.address6], "the address")
