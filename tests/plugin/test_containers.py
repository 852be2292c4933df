"""Containers live as they do on any network of Docker's, and the server sees each come and go."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.lab.command import CommandFailed, wait_until
from tests.lab.containers import Container
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import NETWORK, Run
from tests.plugin.judge import assert_leased, assert_released, await_client, renew
from tests.plugin.sandbox import Sandbox

pytestmark = pytest.mark.plugin

MAC = "02:00:5e:00:53:01"
LOOKS_FIRST = 28  # the engine that looks for the command before it asks the plugin for an endpoint


def test_life_of_a_container(run: Run, lab: Lab, network: str) -> None:
    """run, stop, start, restart and rm: a lease each time it runs, one RELEASE each time it stops."""
    container = run(f"--mac-address={MAC}")
    first = assert_leased(container, network, lab.dhcp)
    assert f"inet {first.address} " in container.exec("ip", "addr")

    container.stop()
    assert_released(lab.dhcp, MAC, times=1)
    container.start()
    assert assert_leased(container, network, lab.dhcp).address == first.address
    container.restart()
    assert assert_leased(container, network, lab.dhcp).address == first.address
    assert len(lab.dhcp.messages(MAC, "RELEASE")) == 2
    container.remove()
    assert_released(lab.dhcp, MAC, times=3)


def test_one_mac_in_every_packet(run: Run, lab: Lab, plugin: Plugin, network: str) -> None:
    """A MAC of our making is locally administered, and the only one that the server sees of the container."""
    before = len(lab.dhcp.messages())
    container = run()
    attachment = assert_leased(container, network, lab.dhcp)
    await_client(plugin, attachment)
    container.remove()

    assert {message.mac for message in lab.dhcp.messages()[before:]} == {attachment.mac}
    assert int(attachment.mac[:2], 16) & 0b11 == 0b10
    assert_released(lab.dhcp, attachment.mac)


def test_connect_and_disconnect_at_run_time(plugin: Plugin, docker: Docker, run: Run, lab: Lab, network: str) -> None:
    """A running container gets an interface and a lease, and loses both, as often as one likes: each time as another
    machine, which is no trouble. The last one it stays over a restart."""
    container = run()
    docker("network", "disconnect", network, container.name)
    for _ in range(3):
        docker("network", "connect", network, container.name)
        attachment = assert_leased(container, network, lab.dhcp)
        await_client(plugin, attachment)

        docker("network", "disconnect", network, container.name)
        assert_released(lab.dhcp, attachment.mac)
        assert Sandbox.of(container).interface(attachment.mac) is None

    docker("network", "connect", network, container.name)
    last = assert_leased(container, network, lab.dhcp)
    docker("rename", container.name, "renamed")  # the watcher tells events in their order
    wait_until(lambda: "renamed" in str(plugin.get("/v1/endpoints")), "the container's new name")
    assert plugin.get("/healthz")[1]["problems"] == []
    docker("rename", "renamed", container.name)
    container.restart()
    assert assert_leased(container, network, lab.dhcp).mac == last.mac


def test_disconnected_by_force(docker: Docker, run: Run, lab: Lab, network: str) -> None:
    """From a container that runs, one that is paused, one whose processes are stopped: one release each."""
    running, paused, stopped = containers = [run() for _ in range(3)]
    attachments = [assert_leased(container, network, lab.dhcp) for container in containers]
    docker("pause", paused.name)
    os.kill(int(stopped.inspect()["State"]["Pid"]), signal.SIGSTOP)

    for container in containers:
        docker("network", "disconnect", "--force", network, container.name)

    for attachment in attachments:
        assert_released(lab.dhcp, attachment.mac)
    docker("unpause", paused.name)
    docker("network", "connect", network, running.name)
    assert_leased(running, network, lab.dhcp)


@pytest.fixture(scope="module")
def other(lab: Lab) -> Iterator[str]:
    """A user-defined bridge network, with addresses of Docker's."""
    lab.engine.docker("network", "create", "other")
    yield "other"
    lab.engine.docker("network", "rm", "other")


@pytest.fixture
def both(docker: Docker, network: str, other: str) -> Iterator[Container]:
    """A container that the test puts on both networks."""
    container = Container(docker, "both")
    yield container
    container.remove()


@pytest.mark.parametrize("names", [(NETWORK, "other"), ("other", NETWORK)])
@pytest.mark.parametrize("start_first", [True, False])
def test_two_networks(both: Container, plugin: Plugin, lab: Lab, names: tuple[str, str], start_first: bool) -> None:
    """Beside a bridge network, in either order, before the start or after: both addresses, and whoever owns the
    default route keeps it when the lease is renewed."""
    both.docker("create", "--name", both.name, f"--network={names[0]}", BUSYBOX)
    if start_first:
        both.start()
    both.docker("network", "connect", names[1], both.name)
    if not start_first:
        both.start()
    sandbox = Sandbox.of(both)
    ours, theirs = assert_leased(both, NETWORK, lab.dhcp), both.attachment("other")
    gateway = sandbox.gateway()
    assert gateway in (ours.gateway, theirs.gateway)
    assert sandbox.addresses(theirs.mac) == [theirs.address]

    renew(plugin, lab, ours)

    assert sandbox.gateway() == gateway
    assert sandbox.addresses(ours.mac) == [ours.address]
    both.docker("network", "disconnect", "other", both.name)
    assert sandbox.gateway() == ours.gateway


def test_restart_policy(run: Run, lab: Lab, network: str) -> None:
    """A container whose process is killed comes back on its lease, which is not released meanwhile."""
    container = run("--restart=always", f"--mac-address={MAC}")
    first = assert_leased(container, network, lab.dhcp)
    released = len(lab.dhcp.messages(MAC, "RELEASE"))

    os.kill(Sandbox.of(container).pid, signal.SIGKILL)
    wait_until(lambda: _status(container) == (1, "running"), "the restart")

    second = assert_leased(container, network, lab.dhcp)
    assert second.endpoint_id != first.endpoint_id
    assert second.address == first.address
    assert len(lab.dhcp.messages(MAC, "RELEASE")) == released


def test_container_that_removes_itself(run: Run, lab: Lab, network: str) -> None:
    """`--rm`: when its process ends, the lease goes with the container."""
    container = run("--rm")
    attachment = assert_leased(container, network, lab.dhcp)

    os.kill(Sandbox.of(container).pid, signal.SIGKILL)

    wait_until(lambda: not _exists(container), "the container to go")
    assert_released(lab.dhcp, attachment.mac)


@pytest.mark.parametrize("number", range(5))
def test_container_that_exits_at_once(run: Run, lab: Lab, number: int) -> None:
    """Over before the sandbox can be entered, or while it is: the lease is released all the same."""
    before = len(lab.dhcp.messages())
    container = run(command=("true",))
    wait_until(lambda: container.inspect()["State"]["Status"] == "exited", "the container's end")

    (mac,) = {message.mac for message in lab.dhcp.messages()[before:]}
    wait_until(lambda: lab.dhcp.messages(mac, "RELEASE"), "the RELEASE")
    container.remove()
    assert_released(lab.dhcp, mac)


def test_start_that_fails(run: Run, lab: Lab) -> None:
    """A command that is not there: no container, and neither a lease nor a link (the leak gate) is left."""
    before = len(lab.dhcp.messages())
    with pytest.raises(CommandFailed, match="no-such-command"):
        run(command=("no-such-command",))

    macs = {message.mac for message in lab.dhcp.messages()[before:]}
    assert len(macs) == (0 if lab.engine.docker.release >= LOOKS_FIRST else 1)
    for mac in macs:
        assert_released(lab.dhcp, mac)


def _status(container: Container) -> tuple[int, str]:
    """How often it has been restarted, and its state."""
    found = container.inspect()
    return found["RestartCount"], found["State"]["Status"]


def _exists(container: Container) -> bool:
    return bool(container.docker("ps", "--all", "--quiet", "--filter", f"name=^{container.name}$"))
