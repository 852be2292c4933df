"""What the engine does after a fault, from wherever it struck to the end of the container.

An error to the user and no DeleteEndpoint after a CreateEndpoint that failed; DeleteEndpoint after a Join that failed;
Leave and DeleteEndpoint after a link that could not be configured; errors of Leave and DeleteEndpoint are ignored.
"""

import re
from itertools import product

from tests.lab.command import CommandFailed
from tests.netns.process.faultcase import Case, Fault
from tests.netns.process.faults import (
    bridge_removed,
    client_gone,
    descriptors_gone,
    link_removed,
    server_silent,
    supervisor_killed,
    worker_killed,
)
from tests.netns.process.faultsteps import STEPS, Step, acked, create_asked, created, discover_seen, request_seen

# At which steps a fault makes the call that is under way fail, and in which words; at all others the call succeeds.
# An answer that is already on its way outlives the supervisor.
ERRORS: dict[Fault, tuple[tuple[Step, ...], str]] = {
    worker_killed: ((discover_seen, request_seen, acked), "the endpoint's worker died"),
    supervisor_killed: (STEPS, "supervisor is gone|channel to the supervisor broke|came without its body"),
    client_gone: (STEPS, "came without its body"),
    server_silent: ((create_asked,), "no DHCPOFFER .*; no ADVERTISE"),
    link_removed: ((discover_seen, request_seen, acked), "cannot be used any more: "),
    bridge_removed: ((create_asked,), "there is none of that name"),
    descriptors_gone: ((create_asked, acked), "no process could be started .*: Too many open files; |worker died"),
}
# Where the container starts with its IPv6 address alone, which it has by then.
WITHOUT_IPV4 = set(product((discover_seen, request_seen), (server_silent, bridge_removed)))
# The engine gives a call up whose endpoint is made nevertheless: that goes by itself.
NOBODY_JOINS = set(product((create_asked, discover_seen, request_seen, acked, created), (client_gone,)))


def fails(step: Step, fault: Fault) -> bool:
    """Does the call under way fail?"""
    return fault in ERRORS and step in ERRORS[fault][0]


def patience(step: Step, fault: Fault) -> str:
    """How long CreateEndpoint waits for a server: no longer than needed where none answers.

    Where one of two families is to have a lease by then, a busy machine needs some time for that.
    """
    if (step, fault) in WITHOUT_IPV4:
        return "4s"
    return "1500ms" if fault is server_silent and fails(step, fault) else "12s"


def go_on(case: Case, step: Step) -> None:
    """The engine's next calls; none is left to be made afterwards."""
    succeeded = case.call is None or _succeeds(case, step)
    if case.method == "Leave":
        _leave(case)
    elif case.method != "DeleteEndpoint" and _start(case, succeeded):
        assert_running(case)
        _leave(case)
    case.container.remove_sandbox()


def _succeeds(case: Case, step: Step) -> bool:
    """The call during which the fault struck ends as the table says."""
    answer = case.receive()
    if answer.status == 200:
        assert case.fault is supervisor_killed or not fails(step, case.fault), answer
        assert case.method != "CreateEndpoint" or ("Address" in answer.body["Interface"]) == (
            (step, case.fault) not in WITHOUT_IPV4
        ), answer
    else:
        assert fails(step, case.fault), answer
        assert re.search(ERRORS[case.fault][1], answer.error), answer
    return case.take(answer)


def assert_running(case: Case) -> None:
    """The container has one lease of each family, which is the server's word, too.

    Without a link there is nothing to see.
    """
    if case.fault in (link_removed, bridge_removed):
        return
    container, bench = case.container, case.bench
    case.reach("joined")
    if case.fault is not server_silent:
        bench.rig.wait_for_bound(container, more_than=case.confirmations)
    assert container.inet == ([container.address] if container.address else [])
    assert bench.pool.leases == ({container.mac: container.ip} if container.address else {})
    assert container.inet6 == [container.address6]
    assert [(lease.duid, lease.address) for lease in bench.server6.leases6()] == [(container.duid, container.ip6)]


def _start(case: Case, succeeded: bool) -> bool:
    """False where the start has failed, and the engine has cleaned up."""
    if case.method == "CreateEndpoint":
        if not succeeded:
            return False
        case.send("Join")
        assert case.take(case.receive())
    elif not succeeded:
        case.container.delete()
        return False
    try:
        case.configure()
    except CommandFailed:
        assert case.fault is link_removed
        _leave(case)
        return False
    return True


def _leave(case: Case) -> None:
    if case.method != "Leave":
        case.send("Leave")
        assert case.take(case.receive())
    if case.container.has_sandbox:
        _detach(case)
    answer = case.container.delete()
    assert answer.status == 200, answer


def _detach(case: Case) -> None:
    try:
        case.container._detach()
    except CommandFailed:  # the next instance finishes what the last one had begun; the engine logs it
        assert case.fault is supervisor_killed
