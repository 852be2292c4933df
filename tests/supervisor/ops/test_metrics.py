"""What Prometheus scrapes: names, labels and numbers, read by Prometheus's own parser."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from supervisor.contract.messages import Health
from supervisor.domain.tally import Tally
from supervisor.endpoint.endpoint import RENEWALS
from supervisor.engine.container_files import Identity
from supervisor.engine.facts import Engine, NetworkSeen
from supervisor.ops.metrics import Scene, _Collector
from supervisor.runtime.child import Child
from supervisor.state.records import LeaseRecord
from tests.supervisor.puppet import LEASE, Puppet
from workers.contract.errors import Failing
from workers.contract.lease import Family
from workers.contract.messages import Trouble
from workers.system.clock import boottime

HOSTILE = 'we"b\\\n# HELP evil\n{}\udc80'
HEALTH = Health(False, ("a", "b"), "f00d", 12.5, 1, 1, engine_connected=True, hints=(), version="0.1.0")


@pytest.fixture(name="puppet")
def _puppet() -> Iterator[Puppet]:
    puppet = Puppet(identity=Identity("c" * 64, HOSTILE, "web"))
    yield puppet
    puppet.close()


def scrape(puppet: Puppet, tally: Tally) -> dict[tuple[str, tuple[str, ...]], float]:
    """The numbers by series and by the values of the labels in their order, without those that name an endpoint."""
    engine = Engine()
    engine.learn(NetworkSeen(puppet.spec.network_id, "lan", None))
    watcher = Child("nd-watcher", "watcher", lambda _: None, lambda _: None, restarts=2)
    scene = Scene(HEALTH, (puppet.endpoint,), engine, (watcher,), tally)
    text = generate_latest(_Collector(scene)).decode()
    families = list(text_string_to_metric_families(text))
    assert all(family.name.startswith("net_dhcp_") and family.documentation for family in families)
    found = {}
    for sample in (sample for family in families for sample in family.samples):
        names = ("endpoint", "network", "container")
        if sample.name.startswith("net_dhcp_lease_") and "endpoint" in sample.labels:
            shown = tuple(sample.labels[name] for name in names)
            assert shown == (puppet.spec.endpoint_id[:12], "lan", HOSTILE.replace("\udc80", "\\udc80"))
        key = tuple(value for name, value in sorted(sample.labels.items()) if name not in names)
        found[sample.name, key] = sample.value
    return found


def test_lease(puppet: Puppet) -> None:
    """Each lease has its state, its times and its counts; a hostile name stays the value of one label."""
    lease = replace(LEASE, duration=600, obtained=boottime())
    puppet.endpoint.leases = {Family.IPV4: LeaseRecord(lease, True, 1000.0, 2000.0)}
    puppet.endpoint.counts.update({(Family.IPV4, RENEWALS): 3, (Family.IPV4, Trouble.NAK): 1})
    found = scrape(puppet, Tally())
    ipv4 = (("ipv4",),)
    assert found[("net_dhcp_lease_last_renewal_timestamp_seconds", *ipv4)] == 2000.0
    assert found[("net_dhcp_lease_duration_seconds", *ipv4)] == 600
    assert found[("net_dhcp_lease_expiry_timestamp_seconds", *ipv4)] == pytest.approx(time.time() + 600, abs=60)
    counts = {
        name: found[(f"net_dhcp_lease_{name}_total", *ipv4)] for name in ("renewals", "naks", "conflicts", "outages")
    }
    assert counts == {"renewals": 3, "naks": 1, "conflicts": 0, "outages": 0}
    told = (str(lease.address.ip), "ipv4", puppet.spec.mac, str(lease.server), "bound")
    assert found["net_dhcp_lease_info", told] == 1


def test_plugin(puppet: Puppet) -> None:
    """The plugin's own health, its processes and all failures have series, also those that have not happened."""
    tally = Tally()
    tally.failures[Failing.NO_SERVER] = 2
    tally.answered("Join", 0.02, None)
    tally.answered("Join", 100.0, "Conflict")
    found = scrape(puppet, tally)
    assert found["net_dhcp_info", ("f00d", "0.1.0")] == 1
    assert (found["net_dhcp_healthy", ()], found["net_dhcp_problems", ()]) == (0, 2)
    assert found["net_dhcp_failures_total", ("no_server",)] == 2
    assert found["net_dhcp_failures_total", ("conflict",)] == 0
    assert found["net_dhcp_lease_troubles_total", ("no_answer",)] == 0
    assert found["net_dhcp_request_errors_total", ("Join", "Conflict")] == 1
    bucket = "net_dhcp_request_duration_seconds_bucket"
    assert [found[bucket, ("Join", bound)] for bound in ("0.01", "0.025", "30.0", "+Inf")] == [0, 1, 1, 2]
    assert found["net_dhcp_process_restarts_total", ("watcher",)] == 2
    assert found["net_dhcp_process_resident_memory_bytes", ("supervisor", "supervisor")] > 1 << 20
