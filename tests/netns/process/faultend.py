"""What the engine does after a fault, from wherever it struck to the end of the container.

An error to the user and no DeleteEndpoint after a CreateEndpoint that failed; DeleteEndpoint after a Join that failed;
Leave and DeleteEndpoint after a link that could not be configured; errors of Leave and DeleteEndpoint are ignored.
"""

from ipaddress import IPv4Interface

from tests.lab.command import CommandFailed
from tests.netns.process.fakeengine import INTERFACE
from tests.netns.process.faultcase import Case
from tests.netns.process.faults import bridge_removed, link_removed, server_silent, supervisor_killed


def go_on(case: Case) -> None:
    """The engine's next calls; none is left to be made afterwards."""
    if case.method == "DeleteEndpoint":
        if case.call is not None:
            case.take(case.receive())
    elif case.method == "Leave":
        _leave(case)
    elif _start(case):
        assert_running(case)
        _leave(case)
    case.container.remove_sandbox()


def assert_running(case: Case) -> None:
    """The container has one lease, which is the server's word, too; without a link there is nothing to see."""
    if case.fault in (link_removed, bridge_removed):
        return
    container, bench = case.container, case.bench
    case.reach("joined")
    if case.fault is not server_silent:
        bench.rig.wait_for_bound(container, more_than=case.confirmations)
    assert f"inet {container.address} " in container.inside("ip", "-4", "address", "show", "dev", INTERFACE)
    assert bench.pool.leases == {container.mac: IPv4Interface(container.address).ip}


def _start(case: Case) -> bool:
    """False where the start has failed, and the engine has cleaned up."""
    if case.call is not None and case.method == "CreateEndpoint" and not case.take(case.receive()):
        return False
    if case.method == "CreateEndpoint":
        case.send("Join")
    if case.call is not None and not case.take(case.receive()):
        case.container.delete()
        return False
    try:
        case.configure()
    except CommandFailed:
        assert case.fault in (link_removed, bridge_removed)
        _leave(case)
        return False
    return True


def _leave(case: Case) -> None:
    if case.method != "Leave":
        case.send("Leave")
    if case.call is not None:
        case.take(case.receive())
    if case.container.has_sandbox:
        _detach(case)
    answer = case.container.delete()
    assert answer.status == 200, answer


def _detach(case: Case) -> None:
    try:
        case.container._detach()
    except CommandFailed:  # the next instance finishes what the last one had begun; the engine logs it
        assert case.fault is supervisor_killed
