"""Containers straight on a network card, in a real engine: restarts, and a card that goes and comes back."""

import os
import re
import socket
from collections.abc import Iterator

import pytest

from tests.lab.command import wait_until
from tests.lab.containers import Container
from tests.lab.dhcp import ServerLease
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.network import SERVER
from tests.lab.plugin import Plugin
from tests.plugin.conftest import create_network
from tests.plugin.judge import assert_leased, assert_released
from tests.plugin.sandbox import Sandbox

pytestmark = pytest.mark.plugin

CARD, NETWORK, MAC = "card0", "on-card", "02:00:5e:10:00:09"
RESTARTS = int(os.environ.get("RESTARTS", "5"))
SECONDS_EACH = 10  # of a restart on a busy machine


@pytest.fixture
def options() -> tuple[str, ...]:
    """Of the network, beside the card."""
    return ()


@pytest.fixture
def container(
    lab: Lab, docker: Docker, plugin: Plugin, no_leaks: None, options: tuple[str, ...]
) -> Iterator[Container]:
    """One with a fixed MAC, on a network on the machine's second card."""
    lab.network.plug_in(CARD)
    create_network(plugin, NETWORK, f"--opt=parent={CARD}", *options, bridge=None)
    container = Container(docker, "on-card")
    network = (f"--network={NETWORK}", f"--mac-address={MAC}")
    try:
        yield Container.run(docker, container.name, *network, image=BUSYBOX)
    finally:
        container.remove()
        docker("network", "rm", NETWORK)
        wait_until(lambda: not host_leases(lab), "the release of the host's own lease, which needs the card")
        lab.network.unplug(CARD)


def host_leases(lab: Lab) -> list[ServerLease]:
    """Those of the machine itself."""
    name = f"{socket.gethostname().partition('.')[0]}-docker"
    return [lease for lease in lab.dhcp.leases() if lease.hostname == name]


@pytest.mark.timeout(300 + SECONDS_EACH * RESTARTS)
def test_restarts_on_a_card(container: Container, docker: Docker, lab: Lab) -> None:
    """However fast a container with a fixed MAC stops and starts, its former link is not in the way: one address, one
    RELEASE for each stop. The LAN is reached from it."""
    place = assert_leased(container, NETWORK, lab.dhcp)
    assert place.mac == MAC
    for _ in range(RESTARTS):
        docker("restart", "--time=0", container.name)
        again = assert_leased(container, NETWORK, lab.dhcp)
        assert (again.mac, again.address) == (MAC, place.address)

    assert "macvlan mode bridge" in Sandbox.of(container).run("ip", "-d", "link", "show", "eth0")
    container.exec("ping", "-c", "1", "-W", "5", str(SERVER))
    container.remove()
    assert_released(lab.dhcp, MAC, RESTARTS + 1)


def test_card_that_is_pulled_out(container: Container, docker: Docker, plugin: Plugin, lab: Lab) -> None:
    """/healthz names the container whose link went with the card. With the next card of that name it has its link again
    as the engine had set it up, and its lease goes on. The engine ends it in order, after a restart and without one."""
    place, was = assert_leased(container, NETWORK, lab.dhcp), setup(container)
    words = f"{container.name}: its link on {CARD} has gone: it is made again as soon as {CARD} is up"
    released = lab.dhcp.kinds(MAC).count("RELEASE")
    for _ in range(2):
        lab.network.unplug(CARD)
        wait_until(lambda: words in str(plugin.get("/healthz")[1]["problems"]), "the problem in /healthz", interval=0.2)
        assert "joined" in [e["phase"] for e in plugin.get("/v1/endpoints")[1]["endpoints"]]

        lab.network.plug_in(CARD)

        wait_until(lambda: plugin.get("/healthz")[0] == 200, "a healthy plugin")
        again = assert_leased(container, NETWORK, lab.dhcp)
        assert (again.mac, again.address, setup(container)) == (MAC, place.address, was)
        container.exec("ping", "-c", "1", "-W", "5", str(SERVER))
        assert lab.dhcp.kinds(MAC).count("RELEASE") == released

    docker("restart", "--time=0", container.name)
    again = assert_leased(container, NETWORK, lab.dhcp)
    assert (again.mac, again.address, setup(container)) == (MAC, place.address, was)
    lab.network.unplug(CARD)
    lab.network.plug_in(CARD)
    inside = Sandbox.of(container)
    wait_until(lambda: "eth0" in inside.run("ip", "-o", "link") and setup(container) == was, "the link")
    container.remove()
    assert_released(lab.dhcp, MAC, released + 2)


@pytest.mark.parametrize("name", ["a-own", "z-own"])
def test_card_of_one_of_two_networks(container: Container, docker: Docker, plugin: Plugin, lab: Lab, name: str) -> None:
    """Whichever network Docker has given the default route, it is the same again when the card is back."""
    docker("network", "create", "--subnet=10.88.0.0/24", name)
    try:
        docker("network", "connect", name, container.name)
        before = Sandbox.of(container).run("ip", "route", "show", "default").split()[:5]
        assert before[2] == ("10.88.0.1" if name < NETWORK else str(SERVER))

        lab.network.unplug(CARD)
        wait_until(lambda: plugin.get("/healthz")[0] != 200, "the problem")
        lab.network.plug_in(CARD)
        wait_until(lambda: plugin.get("/healthz")[0] == 200, "a healthy plugin")

        assert_leased(container, NETWORK, lab.dhcp)
        assert Sandbox.of(container).run("ip", "route", "show", "default").split()[:5] == before
    finally:
        docker("network", "disconnect", "--force", name, container.name)
        docker("network", "rm", name)


def setup(container: Container) -> list[str]:
    """Its link with addresses, routes and IPv6, without the numbers of links and what may follow from them."""
    inside = Sandbox.of(container)
    shown = [inside.run("ip", *words.split()) for words in ("-o -4 addr show", "-o -6 addr show", "route show")]
    lines = {
        re.sub(r"^\d+: | (proto|metric) \S+|valid_lft.*", "", line) for text in shown for line in text.splitlines()
    }
    link = re.sub(r"^\d+: |@\S+|qdisc \S+", "", inside.run("ip", "-o", "link", "show", "eth0"))
    return sorted({" ".join(line.split()) for line in (*lines, link)})


@pytest.mark.parametrize("options", [("--opt=host_access=true",)])
def test_host_access(container: Container, lab: Lab) -> None:
    """The installed plugin can make the host's interface: the server knows it by the machine's name, and the host's way
    to the container leads over it."""
    place = assert_leased(container, NETWORK, lab.dhcp)
    assert place.address is not None
    address = str(place.address.ip)
    (own,) = wait_until(lambda: host_leases(lab), "the host's own lease")

    def leads_over_it() -> bool:
        return f"dev {link} src {own.address}" in lab.network.on_host("ip", "-4", "route", "get", address)

    (link,) = (link for link in lab.network.links() if link.startswith("dh-"))
    wait_until(leads_over_it, "the route to the container")
    lab.network.on_host("busybox", "ping", "-c", "1", "-W", "5", address)
    container.exec("ping", "-c", "1", "-W", "5", str(own.address))
