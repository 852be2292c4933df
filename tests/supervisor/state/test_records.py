"""Records as JSON and back: nothing is lost, times survive a reboot, defaults fill gaps, another form is refused."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import Any

import pytest

from supervisor.domain.options import NetworkOptions
from supervisor.state import records as module
from supervisor.state.records import Binding, EndpointRecord, LeaseRecord, Network, from_json, to_json
from tests.supervisor.puppet import LEASE
from tests.supervisor.samples import Samples
from workers.contract.lease import Family, Lease
from workers.contract.link import LinkKind, LinkSpec
from workers.system.clock import boottime

SEEDS = range(40)
DAY = 86400.0
KINDS: dict[type, Callable[[Samples], object]] = {
    Network: Samples.network,
    EndpointRecord: Samples.endpoint,
    LeaseRecord: Samples.lease_record,
    Binding: Samples.binding,
}


def with_lease(lease: Lease) -> list[tuple[Any, Callable[[Any], Lease | None]]]:
    """Each kind of record that has leases, with one and with the way to it."""
    endpoint, binding = Samples(1).endpoint(), Samples(1).binding()
    return [
        (LeaseRecord(lease), lambda record: record.lease),
        (replace(binding, leases={Family.IPV4: lease}), lambda record: record.leases[Family.IPV4]),
        (replace(binding, last={Family.IPV4: lease}), lambda record: record.last[Family.IPV4]),
        (replace(endpoint, spec=replace(endpoint.spec, remembered=lease)), lambda record: record.spec.remembered),
    ]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: type[Any], seed: int) -> None:
    """Every record comes back as it was."""
    record = KINDS[kind](Samples(seed))
    assert from_json(kind, to_json(record)) == record


def test_reboot(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reboot, when the machine's clock of uptime begins anew, a lease has just as long to run as before."""
    stored = [(to_json(record), type(record), lease_of) for record, lease_of in with_lease(aged(100))]
    monkeypatch.setattr(module, "boot_id", lambda: "another")
    monkeypatch.setattr(module, "boottime", lambda: 5.0)
    for text, kind, lease_of in stored:
        seen = lease_of(from_json(kind, text))
        assert seen is not None
        assert seen.expires == pytest.approx(5.0 - 100 + 600, abs=1)


@pytest.mark.parametrize(("written", "earlier"), [("another", True), ("this one", False), ("", False)])
def test_earlier_boot(monkeypatch: pytest.MonkeyPatch, written: str, earlier: bool) -> None:
    """An endpoint that was written in an earlier boot says so; where it is not known which it was, it does not."""
    monkeypatch.setattr(module, "boot_id", lambda: written)
    text = to_json(Samples(1).endpoint())
    monkeypatch.setattr(module, "boot_id", lambda: "this one")
    assert from_json(EndpointRecord, text).before_boot is earlier


def aged(seconds: float) -> Lease:
    """A lease of 600 s that was obtained so long ago."""
    return replace(LEASE, obtained=boottime() - seconds)


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_wall_clock_that_steps(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    """As long as the machine runs, a wall clock that is set a day on or back changes nothing."""
    record = LeaseRecord(aged(100))
    text = to_json(record)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + step)
    assert from_json(LeaseRecord, text) == record


def test_wall_clock_that_went_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that stands before the lease's beginning, as without a battery, never prolongs the lease."""
    stored = json.loads(to_json(LeaseRecord(aged(0))))
    monkeypatch.setattr(module, "boot_id", lambda: "another")
    seen = from_json(LeaseRecord, json.dumps(stored | {"booted": stored["booted"] + DAY}))
    assert seen.lease.obtained <= boottime()


@pytest.mark.parametrize("kind", KINDS)
def test_another_version(kind: type[Any]) -> None:
    """A field that this version does not know is ignored, and one that is missing gets its default."""
    record = KINDS[kind](Samples(3))
    stored = json.loads(to_json(record))
    stored["record"] |= {"unheard_of": [1]}
    assert from_json(kind, json.dumps(stored)) == record
    bare = {"lease": {"address": "192.0.2.7/24", "server": None, "duration": 600, "obtained": 5.0}}
    seen = from_json(LeaseRecord, json.dumps(stored | {"record": bare}))
    assert seen == LeaseRecord(Lease(IPv4Interface("192.0.2.7/24"), None, 600, 5.0), held=True, obtained=0.0)


def test_network_of_before() -> None:
    """A network from before there were kinds of link is one on a bridge."""
    seen = from_json(Network, '{"record": {"id": "n", "options": {"bridge": "br0"}}}')
    assert seen.options == NetworkOptions("br0")
    assert seen.options.link == LinkSpec(LinkKind.BRIDGE, "br0")


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", '{"record": {}}', "\x00", '{"record": {"id": 7, "spec": 7, "lease": 7, "mac": 7}}'],
)
@pytest.mark.parametrize("kind", KINDS)
def test_another_form(kind: type[Any], text: str) -> None:
    """A text that is no record of ours raises the error for which its row is quarantined."""
    with pytest.raises(ValueError, match=r"\w"):
        from_json(kind, text)


@pytest.mark.parametrize(
    ("name", "value"), [("phase", "dreaming"), ("gateway", "192.0.2.300"), ("routes", [["192.0.2.0/24", None]])]
)
def test_value_of_another_form(name: str, value: object) -> None:
    """An unknown phase, a bad address and a route of another shape are another form, too."""
    stored = json.loads(to_json(Samples(1).endpoint()))
    stored["record"][name] = value
    with pytest.raises(ValueError, match=name):
        from_json(EndpointRecord, json.dumps(stored))
