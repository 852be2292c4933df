"""What an endpoint learns while it lives: leases, troubles, the container's name, and the plugin's end."""

import logging
import os
import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from typing import cast

import pytest

from supervisor.domain.phases import Phase
from supervisor.endpoint.journal import BURST
from supervisor.engine.facts import ContainerSeen, NetworkSeen
from supervisor.ops.views import problems, view_messages
from supervisor.state.records import EndpointRecord
from tests.supervisor.puppet import IDENTITY, IPV4, LEASE, MAC, NONE, SANDBOX, Puppet, attach_path, bring_to
from workers.contract.lease import Family
from workers.contract.messages import (
    Attach,
    Attached,
    ClientStarted,
    Created,
    Delete,
    Deleted,
    LeaseObtained,
    LeaseRenewed,
    LeaseTrouble,
    LeaveSandbox,
    Left,
    Rename,
    Resume,
    Trouble,
    UseResolver,
)
from workers.system.clock import boottime

RENEWED = replace(LEASE, obtained=300.0)
MOVED = replace(LEASE, address=IPv4Interface("192.0.2.99/24"))


def test_attached(puppet: Puppet) -> None:
    """The interface's name in the container is known from the worker; a report out of place changes nothing."""
    bring_to(puppet, Phase.CREATED)
    puppet.report(Attached("eth9"))
    assert (puppet.state, puppet.endpoint.interface) == ("created", None)
    bring_to_joined(puppet)
    assert (puppet.state, puppet.endpoint.interface) == ("joined", "eth1")


def test_overlapping_subnet(puppet: Puppet, caplog: pytest.LogCaptureFixture) -> None:
    """The first lease of a subnet that Docker has on a bridge of its own brings a warning."""
    puppet.engine.learn(NetworkSeen("x1", "shop", "br-shop", (IPv4Network("192.0.0.0/16"),)))
    bring_to(puppet, Phase.CREATED)
    assert "the lease's subnet 192.0.2.0/24 overlaps 192.0.0.0/16 of Docker's network shop" in caplog.text


def test_when_it_is_on_disk(puppet: Puppet, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, but for what only tells that the lease runs for longer, or is told to the next instance as well."""
    bring_to(puppet, Phase.JOINED)
    written: list[int] = []
    puppet.store.problem = None
    monkeypatch.setattr(puppet.store, "settle", lambda: written.append(1))
    puppet.report(LeaseObtained(RENEWED))
    puppet.engine.learn(ContainerSeen("c9", "shop", "shop-host", (puppet.spec.endpoint_id,)))
    puppet.endpoint.engine_changed()
    assert (puppet.endpoint.identity and puppet.endpoint.identity.name, puppet.endpoint.origin.key is None) == (
        "shop",
        False,
    )
    assert not written
    puppet.report(LeaseObtained(MOVED))
    assert len(written) == 1
    puppet.report(LeaseTrouble(Trouble.NAK, "refused", Family.IPV4))
    puppet.report(LeaseObtained(MOVED))
    assert len(written) == 3


@pytest.mark.parametrize("running", [False, True])
def test_another_mac_than_before(puppet: Puppet, running: bool) -> None:
    """A container that was started without being recognised has lost its MAC address till its next start. One that was
    connected while it ran has none to lose: it keeps the new one, and nothing is wrong."""
    puppet.container.found, puppet.container.running = IDENTITY, running
    before, key = replace(puppet.spec, mac="02:00:00:00:00:02"), f"container:{IDENTITY.id}"
    puppet.bindings.keep(before, key, LEASE)
    bring_to(puppet, Phase.JOINED)
    puppet.learn("web-host")
    (binding,) = puppet.bindings
    assert (binding.mac, puppet.endpoint.origin.key) == ((puppet.spec.mac, key) if running else (before.mac, None))
    assert (puppet.endpoint.identity_lost is None) is running


def test_renewal_without_news(puppet: Puppet) -> None:
    """The lease runs from now on, as it was, and a trouble is over."""
    bring_to(puppet, Phase.JOINED)
    puppet.report(LeaseObtained(MOVED))
    puppet.report(LeaseTrouble(Trouble.NO_ANSWER, "silence", Family.IPV4))
    before = boottime()
    puppet.report(LeaseRenewed())
    lease = puppet.endpoint.leases[Family.IPV4].lease
    assert lease == MOVED.renewed(lease.obtained)
    assert before <= lease.obtained <= boottime()
    assert not puppet.endpoint.troubles
    (seen,) = view_messages(puppet.endpoint.messages)
    assert (seen.kind, seen.address) == ("ACK", MOVED.address.ip)


def bring_to_joined(puppet: Puppet) -> None:
    """From CREATED."""
    puppet.ask(puppet.endpoint.join, SANDBOX)
    puppet.report(Attached("eth1"))


def test_renewal(puppet: Puppet) -> None:
    """A lease that is confirmed is renewed now and obtained then; its trouble is over."""
    bring_to(puppet, Phase.JOINED)
    obtained = puppet.ipv4.obtained
    puppet.report(LeaseTrouble(Trouble.NAK, "refused", Family.IPV4))
    assert puppet.endpoint.troubles == {Family.IPV4: "nak: refused"}
    before = time.time()
    puppet.report(LeaseObtained(RENEWED))
    assert (puppet.ipv4.lease, puppet.ipv4.obtained) == (RENEWED, obtained)
    assert puppet.ipv4.renewed >= before
    assert puppet.endpoint.troubles == {}


def test_another_address(puppet: Puppet, caplog: pytest.LogCaptureFixture) -> None:
    """A new address is a new lease, and worth a warning: docker inspect goes on showing the first."""
    bring_to(puppet, Phase.JOINED)
    puppet.report(LeaseObtained(MOVED))
    assert puppet.ipv4.lease == MOVED
    assert puppet.ipv4.obtained == puppet.ipv4.renewed
    (record,) = [r for r in caplog.records if r.levelname == "WARNING"]
    assert "from 192.0.2.10/24 to 192.0.2.99/24" in record.getMessage()


def test_flood_of_what_others_cause(
    puppet: Puppet, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many troubles and changes a neighbour causes, the log and the history get few, and the number."""
    monkeypatch.setattr("supervisor.endpoint.journal.SECONDS_EACH", 3600.0)
    bring_to(puppet, Phase.JOINED)
    caplog.set_level(logging.INFO)
    caplog.clear()
    rows: list[object] = []
    monkeypatch.setattr(puppet.store, "add_event", rows.append)
    for number in range(100):
        puppet.report(LeaseTrouble(Trouble.INVALID, f"nonsense {number}", Family.IPV4))
        puppet.report(LeaseObtained(MOVED if number % 2 else LEASE))
    assert len(caplog.records) <= len(rows) == BURST
    assert puppet.ipv4.lease == MOVED

    monkeypatch.setattr("supervisor.endpoint.journal.SECONDS_EACH", 1e-9)
    puppet.report(LeaseTrouble(Trouble.INVALID, "once more", Family.IPV4))
    assert f"once more ({200 - BURST} events before it are not told" in caplog.text


def test_another_address_than_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """Who asked for an address and got another reads so in the log."""
    puppet = Puppet(requested=IPv4Address("192.0.2.50"))
    puppet.ask(puppet.endpoint.create)
    puppet.report(Created((LEASE,), ()))
    assert "asked for 192.0.2.50, the server gave 192.0.2.10" in caplog.text
    puppet.close()


def test_client(puppet: Puppet) -> None:
    """The client's pid is known from its start to its worker's end."""
    bring_to(puppet, Phase.JOINED)
    puppet.report(ClientStarted(4711, Family.IPV4))
    assert puppet.endpoint.worker.clients == {Family.IPV4: 4711}
    puppet.die()
    assert puppet.endpoint.worker.clients == {}


def test_two_families(puppet: Puppet) -> None:
    """Each report touches the leases of its families alone; a successor gets all of them."""
    second = replace(LEASE, address=cast(IPv4Interface, IPv6Interface("2001:db8::10/64")))
    bring_to(puppet, Phase.CREATING)
    puppet.report(Created((LEASE, second), ()))
    bring_to_joined(puppet)
    puppet.report(LeaseTrouble(Trouble.NAK, "refused", Family.IPV6))
    puppet.report(LeaseObtained(RENEWED))
    assert puppet.endpoint.troubles == {Family.IPV6: "nak: refused"}
    assert [record.lease for record in puppet.endpoint.record().leases] == [RENEWED, second]
    puppet.ask(puppet.endpoint.leave)
    puppet.report(Left(IPV4))
    puppet.die()
    puppet.ask(puppet.endpoint.delete)
    assert puppet.worker.begin.resume == Resume((RENEWED, second), frozenset({Family.IPV6}))


@pytest.mark.parametrize(
    ("hostname", "sent"),
    [
        ("web-host", ["web-host"]),
        ("web_host", ["web-host"]),
        ("wöb", ["w-b"]),
        ("", ["web"]),
        ("c1", ["web"]),
        ("_", []),
        ("x" * 70, ["x" * 63]),
    ],
)
def test_host_name_learnt_late(puppet: Puppet, hostname: str, sent: list[str]) -> None:
    """The watcher's word reaches the running client once, as a host name that DHCP can carry, or not at all.

    Without a chosen host name, the engine's is the container's id, and the name is the container's.
    """
    bring_to(puppet, Phase.JOINED)
    puppet.learn(hostname)
    puppet.learn(hostname)
    assert puppet.worker.told() == [Rename(name) for name in sent]
    assert puppet.endpoint.identity is not None
    assert (puppet.endpoint.identity.name, puppet.endpoint.identity.hostname) == ("web", hostname)


@pytest.mark.parametrize(("hostname", "sent"), [("web_host", "web-host"), ("wöb", "w-b"), ("_", None)])
def test_host_name_learnt_before_join(puppet: Puppet, hostname: str, sent: str | None) -> None:
    """What was learnt before Join goes with the sandbox, as a legal host name."""
    bring_to(puppet, Phase.CREATED)
    puppet.learn(hostname)
    assert puppet.worker.told() == []
    puppet.ask(puppet.endpoint.join, SANDBOX)
    assert puppet.worker.told() == [Attach(attach_path(puppet), sent, LEASE.gateway)]


def test_host_name_known_from_the_start() -> None:
    """A container that was known at CreateEndpoint is no news when the watcher sees it, nor are other containers."""
    puppet = Puppet(identity=IDENTITY)
    bring_to(puppet, Phase.JOINED)
    puppet.learn("web-host")
    puppet.learn("other-host", endpoints=("f" * 64,))
    assert puppet.worker.told() == []
    assert puppet.endpoint.identity == IDENTITY
    puppet.close()


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ABSENT])
def test_stop(puppet: Puppet, phase: Phase) -> None:
    """When the plugin stops it undoes what is being made, lets go on what is ending, and disconnects other workers
    without a word that would release the lease."""
    bring_to(puppet, phase)
    puppet.endpoint.stop()
    assert puppet.worker.told() == ([Delete()] if phase is Phase.CREATING else [])
    assert puppet.process_manager.disconnected == (phase not in (Phase.CREATING, Phase.LEAVING, Phase.DELETING))


def test_nobodys_endpoint_becomes_the_containers(puppet: Puppet) -> None:
    """Which container it is became known late: it has the same MAC at its next start; nobody else's is taken."""
    bring_to(puppet, Phase.JOINED)
    puppet.learn("other-host", endpoints=("f" * 64,))
    assert list(puppet.bindings) == []
    puppet.learn("web-host")
    seen = puppet.bindings.recall(puppet.spec.network_id, "container:c1")
    assert seen is not None
    assert (seen.mac, seen.addresses) == (MAC, {Family.IPV4: str(LEASE.address.ip)})
    assert puppet.endpoint.record().origin.key == "container:c1"


def test_retired(puppet: Puppet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with its link, and its lease waits for the next endpoint of the same container; the next instance of the
    plugin would not release it either."""
    live = replace(LEASE, obtained=boottime())
    puppet.learn("web-host")
    bring_to(puppet, Phase.CREATING)
    puppet.report(Created((live,), ()))
    kept: list[object] = []
    monkeypatch.setattr(puppet.store, "put", kept.append)
    puppet.endpoint.retire("it is replaced")
    (record,) = [one for one in kept if isinstance(one, EndpointRecord)]
    assert (record.phase, [one.held for one in record.leases]) == (Phase.LEFT, [False])
    assert puppet.worker.told() == [LeaveSandbox(keep=True), Delete()]
    seen = puppet.bindings.recall(puppet.spec.network_id, "container:c1")
    assert seen is not None
    assert seen.leases == {Family.IPV4: live}


def test_may_be_forgotten(puppet: Puppet) -> None:
    """An endpoint that was just answered is awaited; found again by another instance, it may be forgotten by the
    engine until it is joined."""
    bring_to(puppet, Phase.CREATING)
    assert (puppet.endpoint.is_being_made, puppet.endpoint.may_be_forgotten) == (True, False)
    bring_to(puppet, Phase.CREATED)
    found = Puppet()
    found.endpoint.restore(puppet.endpoint.record())
    seen = [(one.endpoint.is_being_made, one.endpoint.may_be_forgotten) for one in (puppet, found)]
    found.ask(found.endpoint.join, SANDBOX)
    found.close()
    seen.append((found.endpoint.is_being_made, found.endpoint.may_be_forgotten))
    assert seen == [(True, False), (False, True), (False, False)]


def test_resolver() -> None:
    """With `dns=lease` each worker is told of the container's resolver, before it enters if the container is known."""
    for known in (True, False):
        puppet = Puppet(identity=IDENTITY if known else None, lease_dns=True)
        bring_to(puppet, Phase.CREATED)
        puppet.ask(puppet.endpoint.join, SANDBOX)
        told = [*puppet.worker.told()]
        assert [type(command) for command in told] == ([UseResolver, Attach] if known else [Attach])
        puppet.report(Attached("eth0"))
        puppet.learn("web-host")
        assert [type(c) for c in puppet.worker.told()] == ([] if known else [Rename, UseResolver])
        puppet.die()
        puppet.loop.pass_time(60)
        assert [type(command) for command in puppet.worker.told()] == [UseResolver, Attach]
        puppet.close()


def test_no_resolver(puppet: Puppet) -> None:
    """Without the option nothing is said of it."""
    bring_to(puppet, Phase.CREATED)
    puppet.ask(puppet.endpoint.join, SANDBOX)
    puppet.learn("web-host")
    assert UseResolver not in {type(command) for command in puppet.worker.told()}


def test_last_address(puppet: Puppet, caplog: pytest.LogCaptureFixture) -> None:
    """A start on a lease that had run out, which no server confirms, is told as that until a server does."""
    over = replace(LEASE, obtained=boottime() - 660)
    before = time.time() - 660
    puppet.ask(puppet.endpoint.create)
    puppet.report(Created((over,), (), IPV4))
    assert "no server answers; starting on 192.0.2.10/24, the last address, whose lease has run out" in caplog.text
    assert puppet.ipv4.renewed == pytest.approx(before, abs=5)
    bring_to_joined(puppet)
    puppet.endpoint.worker.child.pid = os.getpid()
    (problem,) = problems((puppet.endpoint,))
    assert "lease expired, last trouble: its lease had run out before the start" in problem
    puppet.report(LeaseObtained(replace(LEASE, obtained=boottime())))
    assert problems((puppet.endpoint,)) == ()


@pytest.mark.parametrize("released", [IPV4, NONE])
def test_last_lease_after_a_release(released: frozenset[Family]) -> None:
    """What was released at Leave, or at Delete, is not the container's last address any more."""
    puppet = Puppet(key="id:web")
    lease = replace(LEASE, obtained=boottime())
    puppet.ask(puppet.endpoint.create)
    puppet.report(Created((lease,), ()))
    bring_to_joined(puppet)
    puppet.ask(puppet.endpoint.leave)
    puppet.report(Left(released))
    puppet.ask(puppet.endpoint.delete)
    kept = puppet.bindings.recall(puppet.spec.network_id, "id:web")
    assert kept is not None
    assert kept.last == ({} if released else {Family.IPV4: lease})
    puppet.report(Deleted())
    kept = puppet.bindings.recall(puppet.spec.network_id, "id:web")
    assert kept is not None
    assert kept.last == {}
    puppet.close()
