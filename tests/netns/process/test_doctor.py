"""`docker dhcp doctor`, the file that ships, on hosts that are really broken: it names the cause and a command that
mends it. The engine is played."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tests.lab.build import PLUGIN
from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.network import BRIDGE, LAN, MACHINE
from tests.netns.process.answeringengine import Told
from tests.netns.process.fakeengine import Container
from tests.netns.process.instances import Instances
from tests.netns.process.plugin import settled
from tests.netns.process.rig import Rig, rig_in
from tests.netns.process.shared import Shared, shared

FILE = PLUGIN / "rootfs" / "usr" / "share" / "net-dhcp" / "docker-dhcp"
COMMAND = re.compile(r"`([^`]+)`")
CARD = "card0"
PLUGIN_ID = "f" * 64  # not in the plugin's mounts: it makes nothing anew of what this engine tells
PATIENT = "5s"
QUICK = {"lease_timeout": "1s", "ignore_conflicts": "true"}
WELL, WRONG, WARNED = 0, 1, 7
FILTER_BRIDGED = tuple(f"sysctl -qw net.bridge.bridge-nf-call-{tables}=1" for tables in ("iptables", "ip6tables"))
NO_FILTER = ("nft flush ruleset", *(command.replace("=1", "=0") for command in FILTER_BRIDGED))
DOCTOR = pytest.mark.doctor
Finding = dict[str, Any]


@dataclass
class Host:
    """A machine with the plugin, and an engine that tells what the test says."""

    rig: Rig
    told: Told
    file: Path

    def engine_tells(self) -> None:
        """From now on it tells what `told` has."""
        self.told.write(self.file)

    def network(self, **options: str) -> str:
        """The only network, which is called lan, as the engine and the plugin know it."""
        network_id = self.rig.network(**{**QUICK, **options})
        self.told.networks.clear()
        self.told.network(network_id, "lan", **options)
        self.engine_tells()
        return network_id

    def doctor(self) -> tuple[int, list[Finding]]:
        """Exit status and findings."""
        engine = f"unix://{self.rig.daemon.socket}"
        argv = [str(FILE), "--host", engine, "--socket", str(self.rig.plugin.socket), "doctor", "--format", "json"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert not done.stderr, done.stderr
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def cause(self, id_: str, status: int) -> Finding:
        """The only finding with this id, of a run with this exit status."""
        seen, findings = self.doctor()
        found = [finding for finding in findings if finding["id"] == id_]
        assert (seen, len(found)) == (status, 1), findings
        return found[0]

    def wait_until_well(self) -> None:
        """A server answers and nothing is left to say."""
        wait_until(lambda: self.doctor()[0] == WELL, "a host on which all is well")

    def wait_until_started(self, container: Container) -> None:
        """A busy machine may need longer than this network waits for a lease."""
        wait_until(lambda: container.create().status == 200, "a lease")

    def reconnect(self) -> None:
        """The engine starts anew, and so the plugin asks it for everything."""
        self.told.serve(self.rig.daemon, self.file)

    def run(self, command: str) -> None:
        """On the machine."""
        self.rig.machine.on_host(*command.split())


@contextmanager
def told_rig(directory: Path) -> Iterator[Rig]:
    """A rig whose engine answers."""
    with rig_in(directory) as rig:
        Told(PLUGIN_ID).serve(rig.daemon, directory / "told.json")
        wait_until(lambda: rig.engine.get("/healthz")["engine_connected"], "the watcher")
        rig.before = settled(rig.plugin, rig.engine)
        yield rig


@pytest.fixture(name="rigs", scope="module")
def _rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared[Rig]]:
    with shared(lambda: told_rig(tmp_path_factory.mktemp("rig"))) as rigs:
        yield rigs


@pytest.fixture
def host(rig: Rig) -> Host:
    """All is well on it, and its engine has no network yet."""
    host = Host(rig, Told(PLUGIN_ID), rig.directory / "told.json")
    host.told.info["Driver"] = "overlay2"
    host.engine_tells()
    return host


@dataclass(frozen=True)
class Broken:
    """`breaks` is run on the machine, and `doctor` finds `id` with these words. Its command mends it, with what a
    person writes for `placeholder`, or `mends` does where it has no such command. `restores` undoes the rest."""

    id: str
    breaks: tuple[str, ...]
    words: str
    status: int = WRONG
    placeholder: tuple[str, str] = ("INTERFACE", "uplink")
    mends: tuple[str, ...] = ()
    restores: tuple[str, ...] = ()
    ipv6: bool = False


FILTERED = "chain {} of the nftables table {}"
BRIDGES = {
    "bridge-down": Broken("parent-down", (f"ip link set {BRIDGE} down",), f"{BRIDGE} is down"),
    "no-bridge": Broken(
        "no-parent",
        (f"ip link del {BRIDGE}",),
        f"{BRIDGE}: there is none of that name",
        mends=(
            f"ip link add {BRIDGE} type bridge",
            f"ip addr add {MACHINE}/{LAN.prefixlen} dev {BRIDGE}",
            f"ip link set uplink master {BRIDGE}",
            f"ip link set {BRIDGE} up",
        ),
    ),
    "cable": Broken("uplink-carrier", ("ip link set uplink down",), "no uplink of br-lan has a carrier (uplink)"),
    "no-uplink": Broken("no-uplink", ("ip link set uplink nomaster",), "no ports besides the containers'"),
    "spanning-tree": Broken("stp-delay", (f"ip link set {BRIDGE} type bridge stp_state 1",), "STP is on for br-lan"),
    "iptables": Broken(
        "firewall-ip",
        (*FILTER_BRIDGED, "iptables-nft -P FORWARD DROP"),
        FILTERED.format("FORWARD", "ip filter"),
        restores=NO_FILTER,
    ),
    "iptables-legacy": Broken(
        "firewall-ip",
        (*FILTER_BRIDGED, "iptables-legacy -P FORWARD DROP"),
        "chain FORWARD of iptables-legacy",
        placeholder=("iptables", "iptables-legacy"),
        restores=("iptables-legacy -P FORWARD ACCEPT", "iptables-legacy -F FORWARD", *NO_FILTER),
    ),
    "nftables": Broken(
        "firewall-ip",
        (
            *FILTER_BRIDGED,
            "nft add table inet site",
            "nft add chain inet site forward { type filter hook forward priority 0 ; policy drop ; }",
        ),
        FILTERED.format("forward", "inet site"),
        restores=NO_FILTER,
    ),
    "ip6tables": Broken(
        "firewall-ip6",
        (*FILTER_BRIDGED, "ip6tables-nft -P FORWARD DROP"),
        FILTERED.format("FORWARD", "ip6 filter"),
        restores=NO_FILTER,
        ipv6=True,
    ),
    "ebtables": Broken(
        "firewall-bridge",
        ("ebtables -P FORWARD DROP",),
        FILTERED.format("FORWARD", "bridge filter"),
        placeholder=(f"meta ibrname {BRIDGE} ", ""),  # some kernels cannot tell; tests/kernel runs it as it is
        restores=NO_FILTER,
    ),
    "rp-filter": Broken(
        "rp-filter",
        (
            "sysctl -qw net.ipv4.conf.all.rp_filter=0",
            f"sysctl -qw net.ipv4.conf.{BRIDGE}.rp_filter=1",
            "ip link add second type veth peer name second-end",
            "ip link set second up",
            f"ip addr add {LAN[9]}/{LAN.prefixlen} dev second",
        ),
        "this host is in its subnet through second",
        WARNED,
        restores=("ip link del second",),
    ),
}
CARDS = {
    "card-down": Broken("parent-down", (f"ip link set {CARD} down",), f"{CARD} is down"),
    "no-carrier": Broken(
        "no-carrier",
        (f"ip link set {CARD}-port down",),
        f"{CARD} has no carrier",
        mends=(f"ip link set {CARD}-port up",),
    ),
}
ALWAYS = ("iptables", "cable")  # as a part of `make test`; `make test-doctor` runs all


def rows(hosts: dict[str, Broken]) -> list[ParameterSet]:
    """For pytest."""
    return [pytest.param(one, id=id_, marks=() if id_ in ALWAYS else DOCTOR) for id_, one in hosts.items()]


def mended(host: Host, network_id: str, broken: Broken, run: Callable[[str], None]) -> None:
    """The cause is named and the remedy helps; then a container starts, and there is nothing left to say."""
    cause = host.cause(broken.id, broken.status)
    assert (cause["about"], broken.words in cause["found"]) == (network_id[:12], True), cause
    if broken.mends:
        for command in broken.mends:
            run(command)
    else:
        printed = COMMAND.search(cause["remedy"])
        assert printed is not None, cause
        host.run(printed[1].replace(*broken.placeholder))

    host.wait_until_well()
    host.wait_until_started(host.rig.container(network_id))


@pytest.mark.parametrize("broken", rows(BRIDGES))
def test_bridge(host: Host, server: DhcpServer, broken: Broken) -> None:
    """What keeps DHCP from passing a bridge is named, and gone after the command that mends it."""
    if broken.ipv6:
        host.rig.machine.serve_ipv6()
        server.restart(ServerOptions(ipv6=Ipv6Options()))
    network_id = host.network(bridge=BRIDGE, ipv6=str(broken.ipv6).lower())
    for command in broken.breaks:
        host.run(command)

    mended(host, network_id, broken, host.run)

    for command in broken.restores:
        host.run(command)


@pytest.mark.parametrize("broken", rows(CARDS))
def test_card(host: Host, server: DhcpServer, card: str, broken: Broken) -> None:
    """The same for a card, of which a cable is the other half."""
    network_id = host.network(parent=card)

    def on_either_side(command: str) -> None:
        of_lan = f"{CARD}-port" in command
        (host.rig.machine.on_lan if of_lan else host.rig.machine.on_host)(*command.split())

    for command in broken.breaks:
        on_either_side(command)

    mended(host, network_id, broken, on_either_side)


def test_server(host: Host, server: DhcpServer) -> None:
    """A server that does not run is what is left where nothing is wrong on the host; Docker's word of a container that
    has not started for that is passed on."""
    network_id = host.network(bridge=BRIDGE)
    server.stop()
    container = host.rig.container(network_id)
    error = container.create().error
    host.told.did_not_start("web", f"failed to set up container networking: NetworkDriver.CreateEndpoint: {error}")
    host.engine_tells()

    found = host.cause("no-offer", WRONG)["found"]
    assert f"no DHCPOFFER on {BRIDGE} in 1 s" in found
    assert "is there a DHCP server on this LAN" in found
    not_started = host.cause("not-started", WRONG)
    assert error in not_started["found"]
    assert "docker start web" in not_started["remedy"]

    server.start()
    host.wait_until_started(container)
    host.told.containers.clear()
    host.engine_tells()
    host.wait_until_well()


@DOCTOR
def test_pool(host: Host, server: DhcpServer) -> None:
    """A server whose addresses are used up makes no offer, and that is told."""
    network_id = host.network(bridge=BRIDGE, lease_timeout=PATIENT)
    server.restart(ServerOptions(first=LAN[50], last=LAN[50]))
    host.rig.joined(network_id)

    assert host.cause("no-offer", WRONG)["about"] == network_id[:12]

    server.restart(ServerOptions())
    host.wait_until_well()


@DOCTOR
def test_subnet(host: Host, server: DhcpServer) -> None:
    """A network of Docker's with the LAN's addresses is named, with the command that removes it."""
    host.rig.joined(host.network(bridge=BRIDGE, lease_timeout=PATIENT))
    host.told.bridge_network("other", LAN)
    host.engine_tells()
    host.reconnect()

    wait_until(lambda: host.doctor()[0] == WARNED, "the overlap")
    assert "docker network rm other" in host.cause("subnet-overlap", WARNED)["remedy"]

    host.told.networks.pop()
    host.engine_tells()
    host.reconnect()
    host.wait_until_well()


@DOCTOR
def test_lost_network(host: Host, server: DhcpServer) -> None:
    """A network that the engine has and the plugin does not is named, with the command that removes it."""
    host.network(bridge=BRIDGE)
    host.told.network("e" * 64, "lost", bridge=BRIDGE)
    host.engine_tells()

    lost = host.cause("network-lost", WRONG)
    assert (lost["about"], "docker network rm lost" in lost["remedy"]) == ("lost", True)

    host.told.networks.pop()
    host.engine_tells()
    host.wait_until_well()


@DOCTOR
def test_card_that_went(host: Host, server: DhcpServer, card: str) -> None:
    """A container whose link went with its card is named by the plugin itself."""
    network_id = host.network(parent=card, lease_timeout=PATIENT)
    container = host.rig.joined(network_id)
    host.rig.machine.unplug(card)
    lost = "restart the container"
    wait_until(lambda: lost in str(host.rig.engine.get("/healthz")["problems"]), "the end of the link")

    _, findings = host.doctor()
    assert any(finding["id"] == "problem" and lost in finding["found"] for finding in findings), findings
    assert host.cause("no-parent", WRONG)["about"] == network_id[:12]

    host.rig.machine.plug_in(card)
    container.stop()
    host.wait_until_well()


@DOCTOR
def test_engine(host: Host, server: DhcpServer) -> None:
    """An engine that does not run is named, with systemd's command; the leases are looked at all the same."""
    network_id = host.network(bridge=BRIDGE)
    host.rig.daemon.stop()

    silent = host.cause("engine-silent", WRONG)
    assert silent["remedy"].startswith("systemctl start docker;")
    assert host.cause("offer", WRONG)["about"] == network_id[:12]

    host.rig.daemon.start("answeringengine", str(host.file))
    host.wait_until_well()


@DOCTOR
@pytest.mark.usefixtures("alone")
def test_plugin(host: Host, instances: Instances) -> None:
    """A plugin that does not answer is silent, disabled or missing, as the engine tells; each has its command."""
    host.told.serve(host.rig.daemon, host.file)
    instances.end()
    silent = host.cause("plugin-silent", WRONG)
    assert silent["remedy"].startswith("docker plugin disable -f net-dhcp:latest && docker plugin enable")

    host.told.enabled = False
    host.engine_tells()
    assert host.cause("plugin-disabled", WRONG)["remedy"] == "docker plugin enable net-dhcp:latest"

    host.told.plugin = ""
    host.engine_tells()
    assert host.cause("plugin-missing", WRONG)["remedy"].startswith("docker plugin install")

    host.told.plugin, host.told.enabled = PLUGIN_ID, True
    host.engine_tells()
    instances.start()
    host.wait_until_well()
