"""What can go wrong while a network is made or removed."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from socket import socket

from tests.api.unit import reaction
from tests.lab.network import BRIDGE
from tests.netns.process.fakeengine import network_request
from tests.netns.process.faultbench import Bench

RETRIES = 2
ASKED, ANSWERED = MOMENTS = ("asked", "answered")  # the API has the call and nobody else; its answer is under way
NetworkFault = Callable[[Bench, socket], None]


def struck(bench: Bench, method: str, network_id: str, moment: str, fault: NetworkFault) -> bool:
    """Did the call succeed for the engine, in spite of the fault?"""
    supervisor = bench.rig.plugin.supervisor
    creation = network_request(network_id, {"bridge": BRIDGE, "ipv6": "true"})
    request = creation if method == "CreateNetwork" else {"NetworkID": network_id}
    if moment == ASKED:
        os.kill(supervisor, signal.SIGSTOP)
    call = bench.rig.engine.send(method, request)
    if moment == ASKED:
        fault(bench, call)
        with suppress(ProcessLookupError):  # the fault was its end
            os.kill(supervisor, signal.SIGCONT)
    raw = reaction(call).raw if call.fileno() >= 0 else b""
    call.close()
    if moment == ANSWERED:
        fault(bench, call)
    if not raw:
        answers = [bench.rig.engine.call(method, b"") for _ in range(RETRIES)]
        assert all(400 <= a.status < 500 and a.error for a in answers), answers
    return raw.startswith(b"HTTP/1.1 200 ")


def kill_supervisor(bench: Bench, _: socket) -> None:
    """The next instance is there at once."""
    bench.restart()


def lose_client(_: Bench, call: socket) -> None:
    """The engine's connection breaks."""
    call.close()


def silence_server(bench: Bench, _: socket) -> None:
    """No DHCP server answers any more."""
    bench.silence()


def remove_bridge(bench: Bench, _: socket) -> None:
    """Somebody removes the bridge."""
    bench.remove_bridge()


def fill_disk(bench: Bench, _: socket) -> None:
    """No byte can be written any more."""
    bench.fill_disk()


def exhaust_descriptors(bench: Bench, _: socket) -> None:
    """The supervisor can start no process any more, as it can open nothing."""
    bench.exhaust()


NETWORK_FAULTS: tuple[NetworkFault, ...] = (
    kill_supervisor,
    lose_client,
    silence_server,
    remove_bridge,
    fill_disk,
    exhaust_descriptors,
)
MEANINGLESS: set[tuple[str, str, NetworkFault]] = {
    ("CreateNetwork", ANSWERED, lose_client),  # it has its answer
    ("DeleteNetwork", ANSWERED, lose_client),
    ("DeleteNetwork", ANSWERED, silence_server),  # nothing is left that would notice
    ("DeleteNetwork", ANSWERED, remove_bridge),
    ("DeleteNetwork", ANSWERED, fill_disk),
    ("DeleteNetwork", ANSWERED, exhaust_descriptors),
}
