"""Records of every shape, drawn by a seeded generator, so that a failure can be repeated by its seed."""

import random
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from supervisor.domain.options import NetworkOptions
from supervisor.domain.phases import Phase
from supervisor.engine.container_files import Identity
from supervisor.state.records import Binding, EndpointRecord, LeaseRecord, Network, Origin
from supervisor.state.tables import Snapshot
from workers.contract.lease import Lease, Route
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import ConflictCheck, EndpointSpec
from workers.system.clock import boottime

CLOCK_SECONDS = 0.5  # by which a lease's times may differ after a way over two clocks


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
        )

    def network(self) -> Network:
        """With every option set to something."""
        options = NetworkOptions(
            bridge=f"br{self.randrange(99)}",
            lease_timeout=self.uniform(1, 20),
            ignore_conflicts=self.coin(),
            skip_routes=self.coin(),
            drop_expired=self.coin(),
            keep_lease=self.coin(),
            mac_by_name=self.coin(),
            conflict=self.choice(tuple(ConflictCheck)),
        )
        return Network(self.id(), options)

    def spec(self) -> EndpointSpec:
        """As an endpoint that asks for something or for nothing."""
        return EndpointSpec(
            network_id=self.id(),
            endpoint_id=self.id(),
            link=LinkSpec(LinkKind.BRIDGE, f"br{self.randrange(99)}"),
            mac=self.mac(),
            lease_timeout=self.uniform(1, 20),
            requested=self.address() if self.coin() else None,
            hostname="web" if self.coin() else None,
            skip_routes=self.coin(),
            drop_expired=self.coin(),
            remembered=self.lease() if self.coin() else None,
        )

    def endpoint(self) -> EndpointRecord:
        """In any phase."""
        return EndpointRecord(
            spec=self.spec(),
            phase=self.choice(list(Phase)),
            origin=Origin(self.coin(), self.coin(), f"container:{self.id()}" if self.coin() else None, self.coin()),
            identity=Identity(self.id(), "we\"b'", "wéb") if self.coin() else None,
            sandbox_key=f"/run/docker/netns/{self.id()[:12]}" if self.coin() else None,
            leases=(self.lease_record(),) if self.coin() else (),
            routes=self.routes(),
            gateway=self.address() if self.coin() else None,
        )

    def lease_record(self) -> LeaseRecord:
        """Given back or not."""
        return LeaseRecord(self.lease(), self.coin(), self.uniform(1, 2e9), self.uniform(1, 2e9))

    def remembered(self) -> Binding:
        """With and without a lease that waits."""
        return Binding(
            network_id=self.id(),
            key=f"id:{self.id()[:8]}",
            mac=self.mac(),
            address=self.address() if self.coin() else None,
            link=LinkSpec(LinkKind.BRIDGE, f"br{self.randrange(99)}"),
            updated=self.uniform(1, 2e9),
            lease=self.lease() if self.coin() else None,
            release_at=self.uniform(1, 2e9) if self.coin() else None,
        )

    def snapshot(self) -> Snapshot:
        """Some of each."""
        return Snapshot(
            networks=tuple(self.network() for _ in range(self.randrange(4))),
            endpoints=tuple(self.endpoint() for _ in range(self.randrange(4))),
            remembered=tuple(self.remembered() for _ in range(self.randrange(4))),
            data_root=f"/srv/{self.id()[:8]}" if self.coin() else None,
        )


def timeless(lease: Lease | None, expected: Lease | None) -> Lease | None:
    """`lease` with the times of the `expected` one, if they are the same but for the clocks."""
    if lease is None or expected is None:
        return lease
    assert abs(lease.obtained - expected.obtained) < CLOCK_SECONDS
    return replace(lease, obtained=expected.obtained)


def same_endpoint(seen: EndpointRecord, expected: EndpointRecord) -> EndpointRecord:
    """`seen` with the times of the `expected` one."""
    spec = replace(seen.spec, remembered=timeless(seen.spec.remembered, expected.spec.remembered))
    both = zip(seen.leases, expected.leases, strict=True)
    leases = tuple(replace(one, lease=timeless(one.lease, other.lease) or one.lease) for one, other in both)
    return replace(seen, spec=spec, leases=leases)


def assert_same(seen: Snapshot, expected: Snapshot) -> None:
    """Everything, in whatever order, but for what two clocks may differ by."""
    endpoints = {record.spec.endpoint_id: record for record in expected.endpoints}
    remembered = {(one.network_id, one.key): one for one in expected.remembered}
    assert {n.id: n for n in seen.networks} == {n.id: n for n in expected.networks}
    assert {r.spec.endpoint_id: same_endpoint(r, endpoints[r.spec.endpoint_id]) for r in seen.endpoints} == endpoints
    assert {
        (one.network_id, one.key): replace(one, lease=timeless(one.lease, remembered[one.network_id, one.key].lease))
        for one in seen.remembered
    } == remembered
    assert seen.data_root == expected.data_root
