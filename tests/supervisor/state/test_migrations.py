"""The state of an older version: a file that the plugin wrote when leases had no families yet, read by this one."""

import json
import sqlite3
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from supervisor.domain.options import NetworkOptions
from supervisor.domain.phases import Phase
from supervisor.engine.container_files import Identity
from supervisor.state import records
from supervisor.state.records import Binding, EndpointRecord, LeaseRecord, Network, Origin
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.samples import assert_same, never
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family, Lease, Route
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import ConflictCheck, EndpointSpec

BR0 = LinkSpec(LinkKind.BRIDGE, "br0")
BOOT = "1b7e0d0c-4a0b-4f43-9c7e-0d6f5a2b8c11"
LEASE = Lease(
    IPv4Interface("192.0.2.10/24"),
    server=IPv4Address("192.0.2.1"),
    duration=600,
    obtained=4321.5,
    routers=(IPv4Address("192.0.2.1"),),
    classless=(Route(IPv4Network("198.51.100.0/24"), IPv4Address("192.0.2.9")), Route(IPv4Network("203.0.113.0/24"))),
    dns=(IPv4Address("192.0.2.1"),),
    domain="lan",
    mtu=1400,
)


def _identity(mac: str, hostname: str | None = None) -> ClientIdentity:
    """As schema 1 implies it, before there was DHCPv6."""
    return replace(ClientIdentity.of_mac(mac, hostname), duid=b"", iaid=0)


JOINED = EndpointRecord(
    EndpointSpec(
        network_id="n1",
        endpoint_id="e1",
        link=BR0,
        mac="02:00:00:00:00:01",
        client_identity=_identity("02:00:00:00:00:01", "web"),
        lease_timeout=10.0,
        requested=IPv4Address("192.0.2.10"),
        skip_routes=True,
        conflict=ConflictCheck.WAIT,
    ),
    Phase.JOINED,
    Origin(given_mac=True, key="container:c1", keep_lease=True),
    Identity("c1", "web", "web-host"),
    sandbox_key="/run/docker/netns/0123456789ab",
    leases=(LeaseRecord(LEASE, held=True, obtained=1700000000.0, renewed=1700004321.0),),
    routes=(Route(IPv4Network("203.0.113.0/24"), IPv4Address("192.0.2.3")),),
    gateway=IPv4Address("192.0.2.1"),
)
CREATING = EndpointRecord(
    EndpointSpec(
        network_id="n1",
        endpoint_id="e2",
        link=BR0,
        mac="02:00:00:00:00:02",
        client_identity=_identity("02:00:00:00:00:02"),
        lease_timeout=5.0,
        remembered=Lease(IPv4Interface("192.0.2.11/24"), server=None, duration=None, obtained=4000.0),
    ),
    Phase.CREATING,
)
IDLE = Binding(
    "n1",
    "id:idle",
    "02:00:00:00:00:03",
    _identity("02:00:00:00:00:03"),
    BR0,
    1700001000.0,
    {Family.IPV4: "192.0.2.12"},
)
AWAY = Binding(
    "n1",
    "name:away",
    "02:00:00:00:00:04",
    _identity("02:00:00:00:00:04"),
    BR0,
    1700002000.0,
    {Family.IPV4: "192.0.2.10"},
    {Family.IPV4: LEASE},
    release_at=5100.0,
)
NETWORK = Network("n1", NetworkOptions("br0", 5.0, mac_by_name=True, conflict=ConflictCheck.OFF))


@pytest.fixture(name="state")
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sqlite3.Connection:
    """The file of schema 1, in the boot in which it was written."""
    monkeypatch.setattr(records, "boot_id", lambda: BOOT)
    database = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    database.executescript(Path(__file__).with_name("schema1.sql").read_text())
    return database


def test_nothing_is_lost(state: sqlite3.Connection, tmp_path: Path) -> None:
    """Networks, endpoints with their leases, bindings with the leases that wait, and the history are all there."""
    for _ in range(2):  # the second time it is of this version
        store = Store(tmp_path, Snapshot, never)
        assert_same(store.load(), Snapshot((NETWORK,), (JOINED, CREATING), (IDLE, AWAY), "/srv/docker"))
        assert store.problems == ()
    assert state.execute("SELECT kind, address FROM event").fetchall() == [("bound", "192.0.2.10/24")]


def test_after_a_reboot(state: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock tells how old each lease has become, the one of an endpoint that was being created included."""
    monkeypatch.setattr(records, "boot_id", lambda: "another")
    monkeypatch.setattr(records, "boottime", lambda: 30.0)
    monkeypatch.setattr("time.time", lambda: 1700004321.5 + 100)
    found = Store(tmp_path, Snapshot, never).load()
    joined, creating = found.endpoints
    assert creating.spec.remembered is not None
    seen = (joined.leases[0].lease, found.bindings[1].leases[Family.IPV4], creating.spec.remembered)
    assert [lease.obtained for lease in seen] == [-70.0, -70.0, -70.0 - 321.5]


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        ("UPDATE network SET options = '{'", "network"),
        ("UPDATE endpoint SET record = '[]' WHERE id = 'e1'", "endpoint lease"),
        ("UPDATE endpoint SET lease = '{}' WHERE id = 'e1'", "endpoint lease"),
        ("UPDATE remembered SET lease = '7' WHERE key = 'name:away'", "binding"),
    ],
)
def test_bad_row(state: sqlite3.Connection, tmp_path: Path, damage: str, lost: str) -> None:
    """A row that could not be read in the older version either is quarantined whole; the others come along."""
    state.execute(damage)
    store = Store(tmp_path, Snapshot, never)
    found = store.load()
    everything: dict[str, list[object]] = {
        "network": [NETWORK],
        "endpoint": [JOINED, CREATING],
        "binding": [IDLE, AWAY],
    }
    gone = {"network": NETWORK, "endpoint": JOINED, "binding": AWAY}
    for name, all_of_them in everything.items():
        left = [one for one in all_of_them if name not in lost or one != gone[name]]
        assert sorted(map(repr, getattr(found, f"{name}s"))) == sorted(map(repr, left))
    assert len(store.problems) == len(lost.split())
    for (record,) in state.execute("SELECT record FROM quarantine"):
        assert isinstance(json.loads(record), list | dict)
