"""The plugin's state is lost while containers run: networks and containers are learnt again from the engine's API."""

from dataclasses import dataclass

from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.network import BRIDGE, LAN, LAN6
from tests.netns.process.answeringengine import Told
from tests.netns.process.fakeengine import Container
from tests.netns.process.instances import Instances
from tests.netns.process.rig import Rig
from tests.netns.process.test_host_access import ping
from tests.netns.process.test_recovery import network_inside
from tests.netns.process.wire import Kind

HEALTHY_SECONDS = 60.0  # at most; a moment when all is well
SOMEBODY = "77"  # whose links have another mark


@dataclass(frozen=True, slots=True)
class Place:
    """What must not change of a container, and the messages that its servers have had of it by then."""

    container: Container
    view: tuple[str, str, str]
    seen: int
    seen6: int

    @classmethod
    def of(cls, container: Container, server: DhcpServer) -> "Place":
        """Now."""
        view = container.view["mac"], container.view["address"], network_inside(container)
        return cls(container, view, len(server.messages(container.mac)), len(server.kinds6(container.duid)))

    def assert_kept(self, server: DhcpServer) -> None:
        """It is as it was, and its leases were renewed by messages to whichever server has them, and nothing else."""
        assert Place.of(self.container, server).view == self.view
        kinds = [message.kind for message in server.messages(self.container.mac)[self.seen :]]
        assert kinds[:2] == ["REQUEST", "ACK"]
        assert not {"DISCOVER", "NAK", "RELEASE", "DECLINE"} & set(kinds)
        if self.container.address6:
            assert server.kinds6(self.container.duid)[self.seen6 :][:2] == ["REBIND", "REPLY"]
            assert server.kinds6(self.container.duid).count("SOLICIT") == 1


def lose(rig: Rig, instances: Instances, told: Told) -> None:
    """The database goes, and the next instance has an engine that tells it this."""
    instances.end()
    for path in instances.state.iterdir():
        path.unlink()
    told.plugin = instances.directory.name
    told.serve(rig.daemon, instances.directory / "told.json")
    instances.start()


def healed(rig: Rig) -> list[str]:
    """What the plugin says that it has healed, once all is well."""
    wait_until(lambda: rig.engine.get("/healthz")["healthy"], "a healthy plugin", HEALTHY_SECONDS)
    return sorted(line.partition(" was lost")[0] for line in rig.engine.get("/healthz")["healed"])


def test_wiped_below_running_containers(rig: Rig, server: DhcpServer, instances: Instances, card: str) -> None:
    """Containers on a bridge, with both families, and on a card keep MAC and addresses, and their leases are renewed
    without a DISCOVER or a SOLICIT, also where the engine tells of an address that a server has replaced; the host
    reaches the card's again. A new one starts on a network that was lost, and the leases of all are released when they
    stop."""
    rig.machine.serve_ipv6()
    server.restart(ServerOptions(ipv6=Ipv6Options()))
    on_bridge = {"bridge": BRIDGE, "ipv6": "true"}
    on_card = {"parent": card, "ignore_conflicts": "true", "host_access": "true"}
    lan, nas = rig.network(**on_bridge), rig.network(**on_card)
    containers = {"web": rig.joined(lan), "db": rig.joined(lan, {"id": "db"}), "nas": rig.joined(nas)}
    places = [Place.of(container, server) for container in containers.values()]
    run("ip", "-n", rig.machine.host, "link", "set", f"dh-{nas[:12]}", "group", SOMEBODY)
    told = Told()
    told.network(lan, "lan", **on_bridge)
    told.network(nas, "nas", **on_card)
    for name, container in containers.items():
        told.container(container, name)
    told.place("db").update(IPAddress=str(LAN[251]), GlobalIPv6Address=str(LAN6[0xDEAD]))

    lose(rig, instances, told)
    fresh = rig.container(lan)
    fresh.start()
    for container in (*containers.values(), fresh):
        rig.wait_for_bound(container)
    what = healed(rig)

    on = {"web": "lan", "db": "lan", "nas": "nas"}
    assert what == sorted([*(f"container {one} on network {n}" for one, n in on.items()), "network lan", "network nas"])
    for place in places:
        place.assert_kept(server)
    wait_until(lambda: ping(rig, containers["nas"].ip), "the host's way to a container", HEALTHY_SECONDS)
    addresses = {container.ip for container in (*containers.values(), fresh)}
    rig.clean()
    assert addresses <= {frame.source for frame in rig.capture.frames(kind=Kind.RELEASE)}
    assert not server.leases()
    assert not server.leases6()
