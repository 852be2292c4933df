"""Records of every shape, drawn by a seeded generator, so that a failure can be repeated by its seed."""

import random
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface

from supervisor.domain.options import NetworkOptions
from supervisor.domain.phases import Phase
from supervisor.engine.container_files import Identity
from supervisor.engine.facts import Program
from supervisor.state.records import Binding, EndpointRecord, LeaseRecord, Network, Origin
from supervisor.state.tables import Snapshot
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import AnyLease, Family, Lease, Lease6, Route
from workers.contract.link import LinkKind, LinkSpec, MacvlanMode
from workers.contract.messages import ConflictCheck, EndpointSpec, Ipv6
from workers.system.clock import boottime


def never(_seconds: float, _callback: Callable[[], None]) -> None:
    """A clock that stands still."""


class Samples(random.Random):
    """Draws records; what may be absent is absent in half of them."""

    def coin(self) -> bool:
        """One of two."""
        return self.random() < 0.5

    def address(self) -> IPv4Address:
        """Any."""
        return IPv4Address(self.getrandbits(32))

    def id(self) -> str:
        """As the engine's."""
        return f"{self.getrandbits(256):064x}"

    def mac(self) -> str:
        """Any."""
        return self.randbytes(6).hex(":")

    def routes(self) -> tuple[Route, ...]:
        """Up to three, with and without a next hop."""
        return tuple(
            Route(
                IPv4Network((self.address(), self.randrange(33)), strict=False), self.address() if self.coin() else None
            )
            for _ in range(self.randrange(4))
        )

    def lease(self) -> Lease:
        """One that may have run out, and may have begun before the machine."""
        return Lease(
            address=IPv4Interface((self.address(), self.randrange(33))),
            server=self.address() if self.coin() else None,
            duration=self.randrange(1, 100_000) if self.coin() else None,
            obtained=boottime() - self.uniform(0, 100_000),
            routers=tuple(self.address() for _ in range(self.randrange(3))),
            classless=self.routes(),
            static=self.routes(),
            dns=tuple(self.address() for _ in range(self.randrange(3))),
            domain="lan.exämple" if self.coin() else None,
            mtu=self.randrange(68, 9001) if self.coin() else None,
            ntp=tuple(self.address() for _ in range(self.randrange(3))),
        )

    def address6(self) -> IPv6Address:
        """Any."""
        return IPv6Address(self.getrandbits(128))

    def lease6(self) -> Lease6:
        """Of a DHCPv6 server, or made of an advertised prefix."""
        slaac, seconds = self.coin(), self.randrange(1, 100_000)
        return Lease6(
            address=IPv6Interface((self.address6(), 128)),
            server=b"" if slaac else self.randbytes(self.randrange(1, 130)),
            duration=seconds if self.coin() else None,
            obtained=boottime() - self.uniform(0, 100_000),
            preferred=seconds // 2 if self.coin() else None,
            renewal=self.randrange(1, 1000) if self.coin() else None,
            rebinding=self.randrange(1, 1000) if self.coin() else None,
            dns=tuple(self.address6() for _ in range(self.randrange(3))),
            search=("lan", "exämple.lan")[: self.randrange(3)],
            router=self.address6() if self.coin() else None,
            slaac=slaac,
        )

    def leases(self) -> dict[Family, AnyLease]:
        """Of one family, of both, or none."""
        drawn: tuple[AnyLease, ...] = (self.lease(), self.lease6())
        return {lease.family: lease for lease in drawn if self.coin()}

    def network(self) -> Network:
        """With every option set to something."""
        link = self.link()
        options = NetworkOptions(
            bridge=link.parent if link.kind is LinkKind.BRIDGE else None,
            parent=None if link.kind is LinkKind.BRIDGE else link.parent,
            mode=link.kind,
            macvlan_mode=link.macvlan_mode,
            host_access=link.on_host,
            lease_timeout=self.uniform(1, 20),
            ignore_conflicts=self.coin(),
            skip_routes=self.coin(),
            drop_expired=self.coin(),
            keep_lease=self.coin(),
            mac_by_name=self.coin(),
            conflict=self.choice(tuple(ConflictCheck)),
            ipv6=self.choice(tuple(Ipv6)),
            gateway=self.address() if self.coin() else None,
            mtu=self.randrange(9001) if self.coin() else None,
            client_id="rack-{name}" if self.coin() else None,
            vendor_class="vendor" if self.coin() else None,
            user_class="user" if self.coin() else None,
            hostname_is_id=self.coin(),
            register_dns=self.coin(),
            validate_dhcp=self.coin(),
        )
        return Network(self.id(), options)

    def link(self) -> LinkSpec:
        """Of any kind."""
        if self.coin():
            return LinkSpec(LinkKind.BRIDGE, f"br{self.randrange(99)}")
        return LinkSpec(LinkKind.MACVLAN, f"eth{self.randrange(99)}", self.choice(tuple(MacvlanMode)), self.coin())

    def client_identity(self) -> ClientIdentity:
        """With values that are not the defaults."""
        parameters = tuple(self.randbytes(self.randrange(4)))
        name, user = ("web" if self.coin() else None), ("user" if self.coin() else None)
        octets = self.randbytes(7)
        return ClientIdentity(octets, name, "vendor", parameters, octets, 7, user_class=user, fqdn=self.coin())

    def spec(self) -> EndpointSpec:
        """As an endpoint that asks for something or for nothing."""
        return EndpointSpec(
            network_id=self.id(),
            endpoint_id=self.id(),
            link=self.link(),
            mac=self.mac(),
            client_identity=self.client_identity(),
            lease_timeout=self.uniform(1, 20),
            requested=self.address() if self.coin() else None,
            skip_routes=self.coin(),
            drop_expired=self.coin(),
            remembered=self.lease() if self.coin() else None,
            ipv6=self.choice(tuple(Ipv6)),
            requested6=self.address6() if self.coin() else None,
            remembered6=self.lease6() if self.coin() else None,
            gateway=self.address() if self.coin() else None,
            mtu=self.randrange(9001) if self.coin() else None,
        )

    def endpoint(self) -> EndpointRecord:
        """In any phase."""
        return EndpointRecord(
            spec=self.spec(),
            phase=self.choice(list(Phase)),
            origin=self.origin(),
            identity=Identity(self.id(), "we\"b'", "wéb") if self.coin() else None,
            sandbox_key=f"/run/docker/netns/{self.id()[:12]}" if self.coin() else None,
            leases=tuple(self.lease_record(lease) for lease in self.leases().values()),
            routes=self.routes(),
            gateway=self.address() if self.coin() else None,
        )

    def origin(self) -> Origin:
        """With and without a key and a host name."""
        key, name = (f"container:{self.id()}" if self.coin() else None), ("web" if self.coin() else None)
        given = (self.coin(), self.coin(), key, self.coin(), self.coin())
        return Origin(*given, hostname=name, hostname_is_id=self.coin())

    def lease_record(self, lease: AnyLease | None = None) -> LeaseRecord:
        """Of this lease or one of either family, which is held or not any more."""
        return LeaseRecord(
            lease or self.choice((self.lease(), self.lease6())), self.coin(), self.uniform(1, 2e9), self.uniform(1, 2e9)
        )

    def binding(self) -> Binding:
        """With and without leases that wait."""
        return Binding(
            network_id=self.id(),
            key=f"id:{self.id()[:8]}",
            mac=self.mac(),
            client_identity=self.client_identity(),
            link=self.link(),
            updated=self.uniform(1, 2e9),
            addresses={family: str(lease.address.ip) for family, lease in self.leases().items()},
            leases=self.leases(),
            release_at=self.uniform(1, 2e9) if self.coin() else None,
        )

    def snapshot(self) -> Snapshot:
        """Some of each."""
        return Snapshot(
            networks=tuple(self.network() for _ in range(self.randrange(4))),
            endpoints=tuple(self.endpoint() for _ in range(self.randrange(4))),
            bindings=tuple(self.binding() for _ in range(self.randrange(4))),
            data_root=f"/srv/{self.id()[:8]}" if self.coin() else None,
            program=Program(f"{self.id()[:8]} 7", "29.7.1") if self.coin() else None,
        )


def assert_same(seen: Snapshot, expected: Snapshot) -> None:
    """Everything, in whatever order."""
    assert {n.id: n for n in seen.networks} == {n.id: n for n in expected.networks}
    assert {r.spec.endpoint_id: r for r in seen.endpoints} == {r.spec.endpoint_id: r for r in expected.endpoints}
    assert {(b.network_id, b.key): b for b in seen.bindings} == {(b.network_id, b.key): b for b in expected.bindings}
    assert seen.data_root == expected.data_root
    assert seen.program == expected.program
