"""A swarm of three machines on one LAN: each replica has a lease of its own, which its slot keeps wherever it runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import CommandFailed, wait_until
from tests.lab.engine import Docker
from tests.lab.lab import Lab
from tests.lab.network import SERVER
from tests.lab.swarm import DRIVER, IMAGE, NETWORK, Swarm, Task

pytestmark = [pytest.mark.swarm, pytest.mark.timeout(600)]
SERVICE = "web"
STACK = f"""
version: "3.8"
services:
  mail:
    image: {IMAGE}
    hostname: "{{{{.Service.Name}}}}-{{{{.Task.Slot}}}}"
    networks: [lan]
    deploy:
      replicas: 2
networks:
  lan:
    external: true
    name: {NETWORK}
"""


@pytest.fixture(name="lab", scope="module")
def _lab() -> Iterator[Lab]:
    """One of its own: an engine in a swarm is another one."""
    with Lab.temporary("swarm") as lab:
        yield lab


@pytest.fixture(scope="module")
def swarm(lab: Lab) -> Iterator[Swarm]:
    """Whose network makes MAC addresses of names."""
    with Swarm.of(lab, 3, "--opt", "mac=name") as swarm:
        yield swarm


@pytest.fixture
def service(swarm: Swarm) -> Iterator[dict[str, Task]]:
    """Two tasks, one a node, so that no two start at the same moment on one."""
    swarm.create(SERVICE, "--replicas", "2", "--replicas-max-per-node", "1")
    yield swarm.tasks(SERVICE, 2)
    remove(swarm.manager, SERVICE)


def remove(manager: Docker, service: str) -> None:
    """With its containers."""
    manager("service", "rm", service)


def of(tasks: dict[str, Task]) -> dict[str, tuple[str, str]]:
    """What the LAN knows each slot by."""
    return {slot: (task.mac, str(task.address)) for slot, task in tasks.items()}


def ids(tasks: dict[str, Task]) -> frozenset[str]:
    """Their containers."""
    return frozenset(task.container for task in tasks.values())


def test_each_replica_has_its_own_lease(lab: Lab, service: dict[str, Task]) -> None:
    """The server knows each by its service and slot, and the LAN reaches each."""
    assert set(service) == {"web.1", "web.2"}
    assert len({task.node.network.machine for task in service.values()}) == 2
    known = {lease.hostname: (lease.mac, lease.address) for lease in lab.dhcp.leases()}
    for slot, task in service.items():
        assert known[slot.replace(".", "-")] == (task.mac, task.address.ip)
        lab.network.on_lan("busybox", "ping", "-c", "1", "-w", "10", str(task.address.ip))
        task.node.docker("exec", task.container, "ping", "-c", "1", "-w", "10", str(SERVER))


def test_rolling_update(swarm: Swarm, service: dict[str, Task]) -> None:
    """Each task makes room for its successor, which has its MAC address and its address."""
    swarm.manager("service", "update", "--quiet", "--detach", "--no-resolve-image", "--env-add", "A=1", SERVICE)
    assert of(swarm.tasks(SERVICE, 2, without=ids(service))) == of(service)


def test_node_that_drains(swarm: Swarm, service: dict[str, Task]) -> None:
    """The slot moves to another node, and remains the same machine to the LAN."""
    moving = next(task for task in service.values() if task.node is not swarm.nodes[0])
    swarm.manager("node", "update", "--availability", "drain", moving.node.id)
    try:
        tasks = swarm.tasks(SERVICE, 2, without=frozenset({moving.container}))
    finally:
        swarm.manager("node", "update", "--availability", "active", moving.node.id)
    assert tasks[moving.slot].node is not moving.node
    assert of(tasks) == of(service)


def test_stack(lab: Lab, swarm: Swarm, tmp_path: Path) -> None:
    """`docker stack deploy` with the network as an external one; the LAN's DNS has the host names of the template."""
    file = tmp_path / "stack.yml"
    file.write_text(STACK)
    swarm.manager("stack", "deploy", "--resolve-image", "never", "--compose-file", file, "site")
    try:
        tasks = swarm.tasks("site_mail", 2)
        for number in (1, 2):
            asked = ("dig", "+short", f"@{SERVER}", f"site-mail-{number}.lan")
            address = str(tasks[f"site_mail.{number}"].address.ip)
            wait_until(lambda: lab.network.on_lan(*asked) == address, "the name in the LAN's DNS")  # noqa: B023
    finally:
        swarm.manager("stack", "rm", "site")
    wait_until(
        lambda: not any((lease.hostname or "").startswith("site-") for lease in lab.dhcp.leases()), "the releases"
    )


def test_scope_swarm_by_itself(swarm: Swarm) -> None:
    """A network of the manager alone cannot be told to take the null IPAM driver: the task's error shows the way."""
    options = ("--scope", "swarm", "--driver", DRIVER, "--opt", "bridge=br-lan")
    with pytest.raises(CommandFailed, match="error during lookup of plugin null"):
        swarm.manager("network", "create", *options, "--ipam-driver", "null", "direct")
    swarm.manager("network", "create", *options, "direct")
    swarm.manager(
        "service", "create", "--quiet", "--detach", "--no-resolve-image", "--network=direct", "--name=no", IMAGE
    )
    try:
        seen = ("service", "ps", "--no-trunc", "--format", "{{.Error}}", "no")
        wait_until(lambda: "--scope swarm --config-from lan-here" in swarm.manager(*seen), "the task's error")
    finally:
        remove(swarm.manager, "no")
        wait_until(lambda: gone(swarm.manager, "direct"), "a network without tasks", interval=1)


def gone(manager: Docker, network: str) -> bool:
    """It may be removed only when no task uses it any more."""
    try:
        manager("network", "rm", network)
    except CommandFailed:
        return False
    return True


def test_slot_in_an_option(swarm: Swarm) -> None:
    """The engine does not fill in templates in options of an endpoint: the refusal says what is wrong with the id."""
    network = f"name={NETWORK},driver-opt=id={{{{.Task.Slot}}}}"
    swarm.manager(
        "service", "create", "--quiet", "--detach", "--no-resolve-image", "--network", network, "--name=slots", IMAGE
    )
    try:
        seen = ("service", "ps", "--no-trunc", "--format", "{{.Error}}", "slots")
        wait_until(lambda: "{{.task.slot}}" in swarm.manager(*seen).lower(), "the task's error")
    finally:
        remove(swarm.manager, "slots")


def test_node_that_dies(swarm: Swarm, service: dict[str, Task]) -> None:
    """The slot comes back on another node as the same machine, although nobody has released its lease."""
    lost = next(task for task in service.values() if task.node is not swarm.nodes[0])
    lost.node.engine.kill()
    lost.node.engine.crash()
    tasks = swarm.tasks(SERVICE, 2)
    assert tasks[lost.slot].node is not lost.node
    assert of(tasks) == of(service)
