"""Who a container is to the LAN: its MAC and its host name, from the first packet on, and never another's."""

import fcntl
import json
import os
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from supervisor.engine.facts import SANDBOX_FIRST
from tests.lab.base import busybox_archive, static_busybox
from tests.lab.build import BUILD
from tests.lab.command import CommandFailed, wait_until
from tests.lab.containers import Attachment, Container, showing_ports
from tests.lab.dhcp import DhcpServer, ServerOptions
from tests.lab.images import BUSYBOX, SLEEP, import_image
from tests.lab.lab import Lab
from tests.lab.network import LAN, SERVER
from tests.lab.plugin import Plugin
from tests.plugin.conftest import NETWORK, Run, create_network
from tests.plugin.judge import Named, assert_found, assert_leased, await_client, lease_of, names
from tests.plugin.sandbox import Sandbox

pytestmark = pytest.mark.plugin

MAC = "02:00:5e:00:53:03"
AT_ONCE = 8
SANDBOX = " - nsfs "  # in the table of mounts


def test_mac_address_of_the_users_choice(run: Run, plugin: Plugin, dhcp: DhcpServer) -> None:
    """--mac-address is in every packet, so that a reservation is hit by the first lease. An answer to Docker that
    repeated it would be refused."""
    dhcp.restart(ServerOptions(reservations={MAC: LAN[42]}))
    before = len(dhcp.messages())
    container = run(f"--mac-address={MAC}")
    attachment = assert_leased(container, NETWORK, dhcp)
    await_client(plugin, attachment)

    assert attachment.mac == MAC
    assert attachment.address is not None
    assert attachment.address.ip == LAN[42]
    assert {message.mac for message in dhcp.messages()[before:]} == {MAC}


def test_host_name_in_the_first_packet(run: Run, plugin: Plugin, lab: Lab) -> None:
    """--hostname is in each DISCOVER and REQUEST, at each start, and the LAN can look it up within 5 s."""
    container = run("--hostname=web1", name="a-container")
    for _ in range(2):
        attachment = assert_leased(container, NETWORK, lab.dhcp)
        assert attachment.address is not None
        address = str(attachment.address.ip)
        await_client(plugin, attachment)

        assert names(lab.dhcp, attachment.mac)[0] == Named("DHCPDISCOVER", "web1")
        assert {named.name for named in names(lab.dhcp, attachment.mac)} == {"web1"}
        assert_found(lab, container, NETWORK, "web1")
        assert f"Address: {address}" in container.exec("nslookup", "web1.lan", str(SERVER))
        container.restart()


def test_connected_while_another_one_starts(run: Run, plugin: Plugin, lab: Lab) -> None:
    """A running container never gets the MAC of one that is started at that moment: its connect is refused, and works
    when it is repeated. Whose request came while that was not clear starts, if need be with a MAC for this once."""
    owner = run(name="owner")
    mine = assert_leased(owner, NETWORK, lab.dhcp)
    merged = owner.root(lab.engine)
    owner.stop()
    other = run(name="other")
    plugin.docker("network", "disconnect", NETWORK, other.name)
    (pid,) = {one["pid"] for one in plugin.get("/v1/workers")[1]["workers"] if one["role"] == "supervisor"}
    dockerd = lab.engine.process
    assert dockerd is not None
    mounts = Path(f"/proc/{dockerd.pid}/mountinfo")

    with ThreadPoolExecutor() as users:
        os.kill(pid, SIGSTOP)
        try:
            connect = users.submit(plugin.docker, "network", "connect", NETWORK, other.name)
            wait_until(lambda: _has_request(pid), "the request for an endpoint")
            sandboxes = mounts.read_text().count(SANDBOX) + (plugin.docker.release >= SANDBOX_FIRST)
            start = users.submit(owner.start)
            wait_until(lambda: f" {merged} " in mounts.read_text(), "the start of the owner")
            # From then on it is a candidate with its sandbox alone.
            wait_until(lambda: mounts.read_text().count(SANDBOX) >= sandboxes, "the owner's sandbox")
        finally:
            os.kill(pid, SIGCONT)
        with pytest.raises(CommandFailed, match="made for container owner, which is being started, and not for other"):
            connect.result()
        start.result()

    assert_leased(owner, NETWORK, lab.dhcp)
    plugin.docker("network", "connect", NETWORK, other.name)
    assert assert_leased(other, NETWORK, lab.dhcp).mac != mine.mac


def _has_request(pid: int) -> bool:
    """Whether a pipe of this process has something to be read."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if str(link.readlink()).startswith("pipe:"):
            with suppress(OSError), link.open("rb", buffering=0) as pipe:
                waiting = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
                if any(waiting):
                    return True
    return False


def test_host_name_without_a_choice(run: Run, plugin: Plugin, lab: Lab) -> None:
    """The LAN finds the container by its name, made legal, within 5 s of its start, and by a new name as well."""
    container = run(name="shop-web_1.x")
    attachment = assert_leased(container, NETWORK, lab.dhcp)
    assert_found(lab, container, NETWORK, "shop-web-1-x")
    await_client(plugin, attachment)
    assert {named.name for named in names(lab.dhcp, attachment.mac)} == {"shop-web-1-x"}

    plugin.docker("rename", container.name, "renamed")
    _await_name(lab, attachment, "renamed")
    plugin.docker("rename", "renamed", container.name)


@pytest.fixture
def by_id(plugin: Plugin, no_leaks: None) -> Iterator[str]:
    """A network whose containers are known by their ids, and have no default route."""
    create_network(plugin, "by-id", "--opt=hostname=id", "--opt=gateway=none")
    yield "by-id"
    plugin.docker("network", "rm", "by-id")


def test_network_of_the_users_choice(by_id: str, plugin: Plugin, lab: Lab) -> None:
    """With hostname=id the server gets what the container shows; with gateway=none Docker adds no way of its own."""
    container = Container.run(lab.engine.docker, "plain", f"--network={by_id}")
    try:
        attachment, sandbox = assert_leased(container, by_id, lab.dhcp), Sandbox.of(container)
        await_client(plugin, attachment)
        assert {named.name for named in names(lab.dhcp, attachment.mac)} == {container.exec("hostname")}
        assert sorted(link["ifname"] for link in json.loads(sandbox.run("ip", "-json", "link"))) == ["eth0", "lo"]
        assert sandbox.gateway() is None
    finally:
        container.remove()


def test_host_name_of_a_running_container(run: Run, lab: Lab) -> None:
    """`network connect`: no container is being started, but with the first packet from its sandbox it has a name."""
    container = run("--hostname=web2")
    lab.engine.docker("network", "disconnect", NETWORK, container.name)
    lab.engine.docker("network", "connect", NETWORK, container.name)
    attachment = assert_leased(container, NETWORK, lab.dhcp)

    _await_name(lab, attachment, "web2")
    assert {named.name for named in names(lab.dhcp, attachment.mac)} <= {None, "web2"}


@pytest.fixture(scope="module")
def exposing(lab: Lab) -> Iterator[list[str]]:
    """Images that differ in what they expose."""
    archive = busybox_archive(static_busybox(BUILD))
    images = [f"exposing-{8000 + number}" for number in range(AT_ONCE)]
    for number, image in enumerate(images):
        import_image(lab.engine.docker, image, archive, SLEEP, [f"EXPOSE {8000 + number}"])
    yield images
    lab.engine.docker("rmi", *images)


def test_different_containers_started_at_once(exposing: list[str], run: Run, plugin: Plugin, lab: Lab) -> None:
    """What they expose tells them apart: each has its own name in its very first packet."""
    for name, (_, attachment) in _start_at_once(run, lab, exposing).items():
        await_client(plugin, attachment)
        assert {named.name for named in names(lab.dhcp, attachment.mac)} == {name}


def test_like_containers_started_at_once(run: Run, lab: Lab) -> None:
    """Nothing tells them apart at first: no name rather than another's, and the right one within 5 s."""
    for name, (container, attachment) in _start_at_once(run, lab, [BUSYBOX] * AT_ONCE).items():
        assert_found(lab, container, NETWORK, name)
        assert {named.name for named in names(lab.dhcp, attachment.mac)} <= {None, name}


def _start_at_once(run: Run, lab: Lab, images: list[str]) -> dict[str, tuple[Container, Attachment]]:
    """By host name; all addresses are different ones."""
    options = showing_ports(lab.engine.docker)

    def start(number: int) -> tuple[str, Container]:
        hostname = f"host{number}"
        return hostname, run(*options, f"--hostname={hostname}", name=f"at-once-{number}", image=images[number])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        started = dict(pool.map(start, range(AT_ONCE)))
    found = {name: (container, assert_leased(container, NETWORK, lab.dhcp)) for name, container in started.items()}
    assert len({attachment.address for _, attachment in found.values()}) == AT_ONCE
    return found


def _await_name(lab: Lab, attachment: Attachment, name: str) -> None:
    wait_until(lambda: lease_of(lab.dhcp, attachment.mac).hostname == name, f"{name} at the server")
