"""Whatever process of the plugin is killed comes back by itself, and no container notices."""

import os
import time
from collections.abc import Iterator
from http.client import IncompleteRead
from signal import SIGKILL
from subprocess import DEVNULL, PIPE, Popen

import psutil
import pytest

from tests.lab.command import CommandFailed, wait_until
from tests.lab.dhcp import DhcpServer, Message, ServerOptions
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.lab.process import Process, tree
from tests.plugin.conftest import Run, has_spare
from tests.plugin.crash import kill_supervisor
from tests.plugin.judge import assert_leased, await_client, endpoint, renew
from tests.plugin.sandbox import Sandbox

# What is killed, and all that goes with it. All comes back but a worker's udhcpc: its successor renews by itself.
KILLED = {
    "worker": {"worker", "udhcpc"},
    "udhcpc": {"udhcpc"},
    "gunicorn's worker": {"gunicorn's worker", "gunicorn's master"},
    "gunicorn's master": {"gunicorn's worker", "gunicorn's master"},
    "watcher": {"watcher"},
    "forkserver": {"forkserver"},
    "spare": {"spare"},
}
JOBS = {"nd-probe", "nd-ports", "nd-sampler"}  # which a question, or a change of the machine's links, begins
LOSING = {"RELEASE", "DECLINE", "NAK"}
RESTART_TIMEOUT = 30.0  # seconds, on a busy machine; the first restart of a worker comes after one
SLOW_SERVER = 3  # seconds to each answer; the budget is 10
API_LIMIT = 10.0  # seconds, on a busy machine; the engine would wait for 30
ASLEEP_BYTES = 1_500_000  # a worker that did its work itself has three times that


FORGETS = 29  # the engine from this version on forgets the endpoints of a plugin that starts again


@pytest.fixture(name="other")
def _other(docker: Docker) -> Iterator[str]:
    """A network of Docker's own, which gets the default route, as it is the first by name."""
    docker("network", "create", "a-network")
    yield "a-network"
    docker("network", "rm", "a-network")


def test_default_route_after_the_plugins_return(other: str, run: Run, lab: Lab, plugin: Plugin, network: str) -> None:
    """A running container keeps its lease and its default route, which Docker 29 gives to no other network until the
    container is restarted."""
    container = run("--stop-timeout=1")
    before = assert_leased(container, network, lab.dhcp)
    docker = plugin.docker
    kill_supervisor(plugin)

    def refused() -> bool:
        try:
            docker("network", "connect", other, container.name)
        except CommandFailed as error:
            if "remote network driver: endpoint" not in str(error):
                raise
            return True
        docker("network", "disconnect", other, container.name)
        return False

    if docker.release >= FORGETS:
        wait_until(refused, "the engine's new memory of the plugin")
        assert Sandbox.of(container).gateway() == before.gateway
        assert assert_leased(container, network, lab.dhcp) == before
        container.restart()
    docker("network", "connect", other, container.name)
    assert Sandbox.of(container).gateway() == container.attachment(other).gateway
    assert assert_leased(container, network, lab.dhcp).address == before.address
    container.remove()


@pytest.mark.parametrize("killed", KILLED)
def test_killed_process_comes_back(killed: str, run: Run, lab: Lab, plugin: Plugin, network: str) -> None:
    """All others keep their processes, nobody loses his lease at the server, the API answers, and all goes on."""
    containers = [run() for _ in range(3)]
    attachments = [assert_leased(container, network, lab.dhcp) for container in containers]
    for attachment in attachments:
        await_client(plugin, attachment)
    seen = len(lab.dhcp.messages())

    _kill(plugin, killed, attachments[0].endpoint_id)
    if "udhcpc" in KILLED[killed]:
        victim = attachments[0].mac
        wait_until(lambda: any(m.mac == victim for m in _acks(lab, seen)), "the successor's DHCPACK", RESTART_TIMEOUT)
    newcomer = run()
    assert endpoint(plugin, newcomer.attachment(network))["container"] == newcomer.name
    for attachment in attachments[killed == "worker" :]:
        renew(plugin, lab, attachment)

    assert [assert_leased(container, network, lab.dhcp) for container in containers] == attachments
    assert not LOSING & {message.kind for message in lab.dhcp.messages()[seen:]}
    for attachment in attachments:
        assert attachment.address is not None
        assert {m.address for m in _acks(lab, seen) if m.mac == attachment.mac} == {attachment.address.ip}
    bystanders = {attachment.mac for attachment in attachments[1:]}
    assert {m.kind for m in lab.dhcp.messages()[seen:] if m.mac in bystanders} == {"REQUEST", "ACK"}


def _kill(plugin: Plugin, name: str, endpoint_id: str) -> None:
    """Returns when others stand in the places of all that has gone with it, and only of that."""
    wait_until(lambda: has_spare(plugin), "the spare worker and its turn")
    pids = _pids(plugin, endpoint_id)
    expected = {pids[gone] for gone in KILLED[name]}
    before = _steady(plugin)

    began = time.monotonic()
    os.kill(pids[name], SIGKILL)
    wait_until(lambda: _answers(plugin), "an answer of the API", RESTART_TIMEOUT)
    assert time.monotonic() - began < API_LIMIT

    def replaced() -> bool:
        now = _steady(plugin)
        return len(now) == len(before) - (name == "worker") and {process.pid for process in before - now} == expected

    wait_until(replaced, "another process in the place of each that has gone", RESTART_TIMEOUT)
    wait_until(lambda: plugin.get("/healthz")[0] == 200, "a healthy plugin", RESTART_TIMEOUT)


def test_worker_sleeps(run: Run, plugin: Plugin, network: str) -> None:
    """When all is done a container has a worker that has taken little memory, its udhcpc, and no other process."""
    attachment = run().attachment(network)
    await_client(plugin, attachment)
    worker = endpoint(plugin, attachment)["worker_pid"]
    wait_until(lambda: [process.name for process in tree(worker)][1:] == ["busybox"], "sleep")
    assert sum(m.private_dirty for m in psutil.Process(worker).memory_maps()) < ASLEEP_BYTES


def _steady(plugin: Plugin) -> set[Process]:
    """All processes but those that come and go: the jobs, and the turns, which a worker forks and are no udhcpc. One
    that has just gone has no name and no parent."""
    names = {process: name for process in plugin.processes() if (name := process.name) and name not in JOBS}
    workers = {p.pid for p, name in names.items() if name.startswith("nd-") and name not in {"nd-api", "nd-init"}}
    return {p for p, name in names.items() if name == "busybox" or _parent(p) not in {*workers, None}}


def _parent(process: Process) -> int | None:
    try:
        return psutil.Process(process.pid).ppid()
    except psutil.NoSuchProcess:
        return None


@pytest.mark.parametrize("killed", ["gunicorn's worker", "gunicorn's master"])
def test_call_in_flight(killed: str, docker: Docker, plugin: Plugin, network: str, dhcp: DhcpServer) -> None:
    """A `docker run` whose CreateEndpoint dies with the API fails soon, with the reason; the endpoint stays known.

    That it is removed when nobody joins it is proved with the endpoint's clock played; here its network's end does it.
    """
    dhcp.restart(ServerOptions(extra=(f"--dhcp-reply-delay={SLOW_SERVER}",)))
    seen = len(dhcp.messages())
    argv = docker.argv("run", "--rm", f"--network={network}", BUSYBOX, "true")
    with Popen(argv, stdout=DEVNULL, stderr=PIPE, text=True) as docker_run:
        wait_until(lambda: dhcp.messages()[seen:], "the DHCPDISCOVER")
        os.kill(_pids(plugin)[killed], SIGKILL)
        began = time.monotonic()
        _, reason = docker_run.communicate()
    assert "the engine repeats a call" in reason
    assert time.monotonic() - began < RESTART_TIMEOUT

    (mac,) = {message.mac for message in dhcp.messages()[seen:]}
    wait_until(lambda: _phases(plugin) == {mac: "created"}, "the endpoint")


def _phases(plugin: Plugin) -> dict[str, str]:
    _, view = plugin.get("/v1/endpoints")
    return {endpoint["mac"]: endpoint["phase"] for endpoint in view["endpoints"]}


def _acks(lab: Lab, seen: int) -> list[Message]:
    return [message for message in lab.dhcp.messages()[seen:] if message.kind == "ACK"]


def _answers(plugin: Plugin) -> bool:
    try:
        return plugin.get("/healthz")[0] in (200, 503)
    except (ConnectionError, IncompleteRead):
        return False  # the process that took the connection was just being killed


def _pids(plugin: Plugin, endpoint_id: str | None = None) -> dict[str, int]:
    """The plugin's processes by their parts, the worker and the udhcpc being those of this endpoint."""
    _, view = plugin.get("/v1/workers")
    found = {w["role"]: w["pid"] for w in view["workers"] if w["endpoint_id"] in (None, endpoint_id)}
    api = {w["pid"] for w in view["workers"] if w["role"] == "api"}
    (master,) = {pid for pid in api if psutil.Process(pid).ppid() == found["supervisor"]}
    (worker,) = api - {master}
    return found | {"gunicorn's master": master, "gunicorn's worker": worker}
