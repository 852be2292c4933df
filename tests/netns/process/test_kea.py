"""Kea instead of dnsmasq: the life of a lease, by Kea's own log and its lease file."""

from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from tests.lab.command import wait_until
from tests.lab.kea import Kea, KeaOptions
from tests.lab.network import LAN, SERVER
from tests.netns.process.conftest import Squat
from tests.netns.process.fakeengine import INTERFACE
from tests.netns.process.rig import Rig
from tests.netns.process.wire import Kind
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Lease
from workers.dhcp4.release import release_by_broadcast
from workers.system.clock import boottime
from workers.system.namespaces import open_namespace

ROUTES = bytes.fromhex("10 0a14 c0a84d04  00 c0a84d05")  # 10.20.0.0/16 via .4, the default route via .5 (RFC 3442)
FIRST = ["DISCOVER", "OFFER", "REQUEST", "ACK"]


@pytest.fixture(name="kea")
def _kea(rig: Rig, tmp_path: Path) -> Iterator[Kea]:
    kea = Kea(tmp_path / "kea", rig.machine.lan)
    kea.start()
    try:
        yield kea
        rig.clean()
        wait_until(lambda: not [x for x in kea.leases() if not x.declined], f"releases of {kea.leases()}")
    finally:
        kea.stop()


def test_from_discover_to_release(rig: Rig, kea: Kea) -> None:
    """Kea leases one address to one client over both of its lives, sees it renewed from it, and gets it back."""
    container = rig.joined()
    assert [(lease.address, lease.mac) for lease in kea.leases()] == [(container.ip, container.mac)]
    assert kea.kinds(container.mac) == FIRST * 2  # the worker's, then udhcpc's
    before = len(rig.capture.frames())

    rig.renew(container)

    assert rig.capture.frames()[before].source == container.ip
    assert kea.kinds(container.mac)[len(FIRST * 2) :][:2] == ["REQUEST", "ACK"]
    container.leave()
    wait_until(lambda: not kea.leases(), "the release")
    assert kea.kinds(container.mac)[-1] == "RELEASE"
    container.delete()
    assert kea.kinds(container.mac).count("RELEASE") == 1


def test_address_is_kept_over_a_restart(rig: Rig, kea: Kea) -> None:
    """A lease that was not given back is asked for by a REQUEST alone, which Kea acknowledges."""
    network = rig.network(release="keep")
    first = rig.container(network)
    first.mac = "02:42:ac:11:00:99"
    first.start()
    rig.wait_for_bound(first)
    first.stop()
    before = len(kea.kinds(first.mac))

    second = rig.container(network)
    second.mac = first.mac
    second.create()

    assert second.address == first.address
    assert kea.kinds(first.mac)[before:] == ["REQUEST", "ACK"]
    assert "RELEASE" not in kea.kinds(first.mac)
    second.stop()
    kea.stop()
    kea.lease_file.unlink()  # what was kept on purpose is no leak
    kea.start()


def test_refused(rig: Rig, kea: Kea) -> None:
    """A reservation that comes later ends in a NAK to the next renewal, and in the reserved address on the link."""
    container = rig.joined()
    kea.restart(KeaOptions(reservations={container.mac: LAN[120]}))

    rig.renew(container)

    assert kea.kinds(container.mac)[-6:] == ["REQUEST", "NAK", *FIRST]
    assert container.inet == [f"{LAN[120]}/24"]
    assert f"via {SERVER} " in container.default_route


def test_routes(rig: Rig, kea: Kea) -> None:
    """Kea sends option 121, as it is asked for it; its routes come and go with a renewal."""
    container = rig.joined()
    kea.restart(KeaOptions(raw={121: ROUTES}))
    rig.renew(container)
    assert container.default_route.split()[:3] == ["default", "via", str(LAN[5])]
    assert f"10.20.0.0/16 via {LAN[4]}" in container.inside("ip", "route")

    kea.restart()
    rig.renew(container)

    assert f"via {SERVER} " in container.default_route
    assert "10.20.0.0/16" not in container.inside("ip", "route")


def test_declined(rig: Rig, kea: Kea, squat: Squat) -> None:
    """An address that another machine has is declined, which Kea notes, and another one is leased."""
    squat(LAN[50])

    container = rig.joined()

    assert kea.kinds(container.mac).count("DECLINE") == len(rig.capture.frames(kind=Kind.DECLINE)) == 1
    assert {lease.address: lease.declined for lease in kea.leases()} == {LAN[50]: True, container.ip: False}


def test_forgone(rig: Rig, kea: Kea) -> None:
    """A lease that is given back by broadcast, as its address is not wanted on the link, is free again."""
    container = rig.joined()
    lease = Lease(IPv4Interface(container.address), SERVER, 60, boottime())
    with open_namespace(f"/run/netns/{container.sandbox}") as sandbox, sandbox.visit():
        release_by_broadcast(INTERFACE, lease, container.mac, ClientIdentity.of_mac(container.mac))

    wait_until(lambda: not kea.leases(), "the release")


def test_identity(rig: Rig, kea: Kea) -> None:
    """Kea takes the name of a client FQDN, and gives back by the identifier that the user chose."""
    container = rig.joined(
        rig.network(register_dns="true", user_class="lab"), {"client_id": "web-1", "hostname": "printer"}
    )
    (lease,) = kea.leases()
    assert (lease.hostname.rstrip("."), lease.client_id) == ("printer", "00:77:65:62:2d:31")
    container.stop()
    wait_until(lambda: not kea.leases(), "the release")
