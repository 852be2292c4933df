"""Ten containers that differ as users' do, and the verdict on each after something has happened to all of them.

They may have an address of each family: then both are judged, each by what the server has heard of it.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Interface, IPv6Address
from signal import SIGUSR1
from typing import NamedTuple

from tests.lab.base import busybox_archive, static_busybox
from tests.lab.build import BUILD
from tests.lab.command import wait_until
from tests.lab.containers import Container, showing_ports
from tests.lab.dhcp import DhcpServer, Message6
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX, SLEEP, import_image
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import create_network
from tests.plugin.crash import await_instance, await_plugin
from tests.plugin.judge import assert_leased, assert_leased6, duid_of

NETWORK = "lan"
EXPOSING = {f"exposing-{number}": f"EXPOSE {8000 + number}" for number in range(6)}
MACS = ("02:00:5e:00:53:11", "02:00:5e:00:53:12")
IDS = ("first", "second")
CONFIRMED = re.compile(r"lease of \d+\.\S+ confirmed by")
REFUSED = {"NAK", "DECLINE"}
RENEWAL6 = {"RENEW", "REBIND", "REPLY"}


class Fate(Enum):
    """What the engine did to a container: nothing, start it anew as its restart policy says, stop it for good."""

    UNDISTURBED = auto()
    RESTARTED = auto()
    STOPPED = auto()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container is on the LAN. `pid` tells one start from the next."""

    mac: str
    address: IPv4Interface | None
    address6: IPv6Address | None
    pid: int

    @property
    def identity(self) -> tuple[str, IPv4Interface | None, IPv6Address | None]:
        """What stays."""
        return self.mac, self.address, self.address6


class Seen(NamedTuple):
    """How many messages of each family the server had logged at a moment."""

    ipv4: int
    ipv6: int

    @classmethod
    def by(cls, server: DhcpServer) -> "Seen":
        """Up to now."""
        return cls(len(server.messages()), len(server.messages6()))


@dataclass(frozen=True, slots=True)
class Fleet:
    """The containers by name, all on NETWORK; every second one has a restart policy. `dual`: of both families."""

    lab: Lab
    plugin: Plugin
    containers: dict[str, Container]
    dual: bool

    @classmethod
    def launch(cls, lab: Lab, plugin: Plugin, *, dual: bool) -> "Fleet":
        """Six that expose different ports, two with a MAC of the user's choice, two with an id."""
        docker, seen = lab.engine.docker, Seen.by(lab.dhcp)
        create_network(plugin, NETWORK, *(("--opt=ipv6=true",) if dual else ()))
        archive = busybox_archive(static_busybox(BUILD))
        for image, change in EXPOSING.items():
            import_image(docker, image, archive, SLEEP, [change])
        started = {}
        for number, (image, options) in enumerate(_kinds(docker)):
            policy = ("--restart=always",) if number % 2 else ()
            name = f"member-{number}"
            started[name] = Container.run(docker, name, f"--hostname=host{number}", *policy, *options, image=image)
        fleet = cls(lab, plugin, started, dual)
        fleet.settle(seen)
        return fleet

    @property
    def docker(self) -> Docker:
        """The docker command."""
        return self.lab.engine.docker

    def seen(self) -> Seen:
        """By the server, up to now."""
        return Seen.by(self.lab.dhcp)

    def renew(self) -> None:
        """The IPv4 renewal that T1 would bring, of each at once; returns when all are answered. Takes no engine."""
        seen = len(self.lab.dhcp.messages())
        _, view = self.plugin.get("/v1/endpoints")
        for endpoint in view["endpoints"]:
            os.kill(endpoint["udhcpc_pid"], SIGUSR1)
        macs = {endpoint["mac"] for endpoint in view["endpoints"]}

        def renewed() -> bool:
            return macs == {m.mac for m in self.lab.dhcp.messages()[seen:] if m.kind == "ACK"}

        wait_until(renewed, "the renewals", interval=0.1)

    def sink(self) -> None:
        """Remove them and their network; their leases are released."""
        self.docker("rm", "--force", *self.containers)
        self.docker("network", "rm", NETWORK)
        self.docker("rmi", *EXPOSING)

    def places(self) -> dict[str, Place]:
        """By name; engine, kernel and server agree on each."""
        found = {}
        for name, container in self.containers.items():
            attachment = assert_leased(container, NETWORK, self.lab.dhcp)
            address6 = assert_leased6(container, NETWORK, self.lab.dhcp) if self.dual else None
            pid = container.inspect()["State"]["Pid"]
            found[name] = Place(attachment.mac, attachment.address, address6, pid)
        return found

    def running(self) -> set[str]:
        """The names of those that run."""
        return self.containers.keys() & set(self.docker("ps", "--format", "{{.Names}}").split())

    def settle(self, seen: Seen, *, asked6: bool = False) -> None:
        """Start those that do not run; returns when each has its client in its sandbox and an ACK for it.

        With `asked6` each has also asked for its IPv6 address since `seen`.
        """
        await_instance(self.plugin)
        if stopped := self.containers.keys() - self.running():
            self.docker("start", *sorted(stopped))
        await_plugin(self.plugin, self._attached, "every client's own ACK")
        macs = {container.attachment(NETWORK).mac for container in self.containers.values()}
        await_plugin(self.plugin, lambda: self._acknowledged(macs, seen), "an ACK for every container")
        if self.dual and asked6:
            await_plugin(self.plugin, lambda: self._granted6(macs, seen), "a DHCPv6 REPLY for every container")

    def heard(self, mac: str, seen: Seen) -> list[str]:
        """The kinds of what the server has heard from this client, and told it, since."""
        return [message.kind for message in self.lab.dhcp.messages()[seen.ipv4 :] if message.mac == mac]

    def heard6(self, mac: str, seen: Seen) -> list[Message6]:
        """The DHCPv6 messages from and to this client since."""
        return [m for m in self.lab.dhcp.messages6()[seen.ipv6 :] if m.duid == duid_of(mac)]

    def assert_nothing_lost(self, before: dict[str, Place], seen: Seen, stopped: set[str], renewed: set[str]) -> None:
        """Each has kept MAC and address, and the server has seen no more than the engine's doings explain.

        `stopped` are those that the engine has stopped for good, `renewed` those that it has started anew.
        """
        for name, place in self.assert_places(before).items():
            kinds = self.heard(place.mac, seen)
            fate = Fate.STOPPED if name in stopped else Fate.RESTARTED if name in renewed else Fate.UNDISTURBED
            assert (place.pid == before[name].pid) == (fate is Fate.UNDISTURBED), name
            assert not REFUSED & set(kinds), (name, kinds)
            _assert_explained(name, fate, kinds)
            if self.dual:
                _assert_explained6(name, fate, self.heard6(place.mac, seen))

    def assert_places(self, before: dict[str, Place]) -> dict[str, Place]:
        """Each has the MAC and the addresses that it had."""
        after = self.places()
        assert {name: place.identity for name, place in after.items()} == {
            name: place.identity for name, place in before.items()
        }
        return after

    def _attached(self) -> bool:
        """The first IPv4 lease is obtained, and then confirmed to the client in the sandbox."""
        _, view = self.plugin.get("/v1/endpoints")
        log = [line for line in self.plugin.log() if CONFIRMED.search(line)]
        confirmed = [e for e in view["endpoints"] if any(f"endpoint={e['endpoint_id'][:12]}" in line for line in log)]
        return {e["container"] for e in confirmed if e["phase"] == "joined"} == self.containers.keys()

    def _acknowledged(self, macs: set[str], seen: Seen) -> bool:
        """The last word that each has heard is an ACK, and it came after that."""
        last = {message.mac: message.kind for message in self.lab.dhcp.messages()[seen.ipv4 :]}
        return all(last.get(mac) == "ACK" for mac in macs)

    def _granted6(self, macs: set[str], seen: Seen) -> bool:
        """The last word that each has heard of DHCPv6 grants an address, and it came after that."""
        last = {message.duid: message for message in self.lab.dhcp.messages6()[seen.ipv6 :]}
        return all((found := last.get(duid_of(mac))) is not None and found.grants for mac in macs)


def _assert_explained(name: str, fate: Fate, kinds: list[str]) -> None:
    """A container that goes on renews; one that comes back asks for its lease (RFC 2131 section 3.2); what the engine
    stops for good gives its lease back, once.
    """
    if fate is Fate.UNDISTURBED:
        assert set(kinds) == {"REQUEST", "ACK"}, (name, kinds)
    elif fate is Fate.RESTARTED:
        assert kinds[:2] == ["REQUEST", "ACK"], (name, kinds)
        assert "RELEASE" not in kinds, (name, kinds)
    else:
        assert kinds.count("RELEASE") == 1, (name, kinds)
        assert set(kinds[: kinds.index("RELEASE")]) <= {"REQUEST", "ACK"}, (name, kinds)


def _assert_explained6(name: str, fate: Fate, messages: list[Message6]) -> None:
    """The same of IPv6, where renewals have times of their own; a container that comes back asks by a Rebind, as
    docs/architecture.md explains."""
    kinds = [message.kind for message in messages]
    assert "DECLINE" not in kinds, (name, kinds)
    if fate is Fate.STOPPED:
        released = {message.xid for message in messages if message.kind == "RELEASE"}
        assert len(released) == 1, (name, messages)  # it is repeated where the Reply is late
        assert set(kinds[: kinds.index("RELEASE")]) <= RENEWAL6, (name, kinds)
    else:
        assert set(kinds) <= RENEWAL6, (name, kinds)
    if fate is Fate.RESTARTED:
        assert "REBIND" in kinds, (name, kinds)


def _kinds(docker: Docker) -> Iterator[tuple[str, tuple[str, ...]]]:
    """An image and its options of `docker run` for each container."""
    yield from ((image, (f"--network={NETWORK}", *showing_ports(docker))) for image in EXPOSING)
    yield from ((BUSYBOX, (f"--network={NETWORK}", f"--mac-address={mac}")) for mac in MACS)
    yield from ((BUSYBOX, (f"--network=name={NETWORK},driver-opt=id={chosen}",)) for chosen in IDS)
