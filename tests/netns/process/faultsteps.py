"""Where in an endpoint's life a fault can strike: each step brings a container there, by events alone."""

from collections.abc import Callable

from tests.lab.command import PATIENCE_SECONDS
from tests.netns.process.faultcase import Case, Fault
from tests.netns.process.faults import (
    bridge_removed,
    client_gone,
    descriptors_gone,
    disk_full,
    link_removed,
    server_silent,
    worker_killed,
)
from tests.netns.process.wire import Kind

Step = Callable[[Case], None]


def create_asked(case: Case) -> None:
    """CreateEndpoint has reached the API only."""
    case.stop(case.bench.rig.plugin.supervisor)
    case.send("CreateEndpoint")


def discover_seen(case: Case) -> None:
    """The link is made, IPv6 has a lease, the IPv4 server has the DISCOVER and is about to answer."""
    reached = case.bench.pool.trap(Kind.DISCOVER, hold=True)
    case.send("CreateEndpoint")
    assert reached.wait(PATIENCE_SECONDS)
    case.await_ipv6()


def request_seen(case: Case) -> None:
    """IPv6 has a lease, the IPv4 server has the REQUEST and is about to answer."""
    reached = case.bench.pool.trap(Kind.REQUEST, hold=True)
    case.send("CreateEndpoint")
    assert reached.wait(PATIENCE_SECONDS)
    case.await_ipv6()


def acked(case: Case) -> None:
    """The IPv4 server has sent its ACK, the worker has not read it; IPv6 has a lease."""

    def hold_worker() -> None:
        case.await_ipv6()
        case.stop(case.worker)

    reached = case.bench.pool.trap(Kind.REQUEST, before_answer=hold_worker)
    case.send("CreateEndpoint")
    assert reached.wait(PATIENCE_SECONDS)


def created(case: Case) -> None:
    """CreateEndpoint is answered."""
    case.send("CreateEndpoint")
    case.reach("created")
    _read(case)


def join_asked(case: Case) -> None:
    """Join has reached the API only."""
    case.send("CreateEndpoint")
    assert case.take(case.receive())
    case.stop(case.bench.rig.plugin.supervisor)
    case.send("Join")


def joined(case: Case) -> None:
    """Join is answered, the link still on the host."""
    case.send("CreateEndpoint")
    assert case.take(case.receive())
    case.send("Join")
    case.reach("joining")
    _read(case)


def moved(case: Case) -> None:
    """The link is in the sandbox, not configured yet."""
    case.send("CreateEndpoint")
    assert case.take(case.receive())
    case.send("Join")
    assert case.take(case.receive())
    assert case.joined is not None
    case.container.move(case.joined)


def attached(case: Case) -> None:
    """The persistent client has sent its first packet."""
    moved(case)
    reached = case.bench.pool.trap(Kind.DISCOVER, hold=True)
    case.configure()
    assert reached.wait(PATIENCE_SECONDS)


def confirmed(case: Case) -> None:
    """The persistent client has its ACK."""
    moved(case)
    case.configure()
    case.bench.rig.wait_for_bound(case.container)


def leave_asked(case: Case) -> None:
    """Leave has reached the API only."""
    confirmed(case)
    case.stop(case.bench.rig.plugin.supervisor)
    case.send("Leave")


def releasing(case: Case) -> None:
    """The server has just got the RELEASE."""
    confirmed(case)
    reached = case.bench.pool.trap(Kind.RELEASE)
    case.send("Leave")
    assert reached.wait(PATIENCE_SECONDS)


def left(case: Case) -> None:
    """Leave is answered."""
    confirmed(case)
    case.send("Leave")
    case.reach("left")
    _read(case)


def delete_asked(case: Case) -> None:
    """DeleteEndpoint has reached the API only."""
    _gone_home(case)
    case.stop(case.bench.rig.plugin.supervisor)
    case.send("DeleteEndpoint")


def deleted(case: Case) -> None:
    """DeleteEndpoint is answered."""
    _gone_home(case)
    case.send("DeleteEndpoint")
    case.reach(None)
    _read(case)


def _gone_home(case: Case) -> None:
    confirmed(case)
    case.send("Leave")
    assert case.take(case.receive())
    case.container._detach()
    case.container.remove_sandbox()


def _read(case: Case) -> None:
    """The answer, but for a client that goes away before it does."""
    if case.fault is not client_gone:
        assert case.take(case.receive())


STEPS: tuple[Step, ...] = (
    create_asked,
    discover_seen,
    request_seen,
    acked,
    created,
    join_asked,
    joined,
    moved,
    attached,
    confirmed,
    leave_asked,
    releasing,
    left,
    delete_asked,
    deleted,
)
IMPOSSIBLE: dict[tuple[Step, Fault], str] = {
    (create_asked, worker_killed): "there is none yet",
    (create_asked, link_removed): "there is none yet",
    (moved, client_gone): "no call is under way",
    (attached, client_gone): "no call is under way",
    (confirmed, client_gone): "no call is under way",
    (deleted, worker_killed): "it has ended",
    (deleted, link_removed): "it has gone",
    (deleted, server_silent): "nothing is sent any more",
    (deleted, bridge_removed): "nothing is done with it any more",
    (deleted, disk_full): "nothing is written any more",
    (discover_seen, descriptors_gone): "as `acked`",
    (request_seen, descriptors_gone): "as `acked`",
    (created, descriptors_gone): "as `joined`",
    (moved, descriptors_gone): "as `joined`",
    (attached, descriptors_gone): "as `confirmed`",
    **{(step, descriptors_gone): "the next worker comes too late" for step in (join_asked, leave_asked, releasing)},
    (delete_asked, descriptors_gone): "the next worker comes too late",
    (deleted, descriptors_gone): "nothing is started any more",
}
