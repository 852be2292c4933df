"""Whether a DHCP server serves a network's LAN: who may be asked for, one at a time, and each outcome."""

from collections.abc import Callable
from typing import cast

import pytest

from supervisor.contract.errors import Conflict, Failed, NotFound
from supervisor.contract.messages import NetworkProbed, ProbeNetwork, Respond
from supervisor.domain.options import parse_network_options
from supervisor.driver.networks import Networks
from supervisor.driver.registry import Registry
from supervisor.engine.facts import Engine, NetworkSeen
from supervisor.ops.actions import Actions
from supervisor.state.bindings import Bindings
from supervisor.state.records import Network
from tests.supervisor.puppet import PlayedLoop
from workers.contract.lease import Family
from workers.endpoint.server_probe import ServerReport

LAN, CARD, TWIN = "a" * 64, "b" * 64, "c" * 64
Probe = Callable[[ProbeNetwork, Respond], None]
Answered = Callable[[ServerReport | None], None]


class _Networks(dict[str, Network]):
    """As many as a test needs; `begun` are the searches that have no answer yet."""

    def __init__(self) -> None:
        super().__init__({n: Network(n, parse_network_options({"bridge": f"br-{n[0]}"})) for n in (LAN, CARD, TWIN)})
        self.begun: list[tuple[str, Answered]] = []

    def __iter__(self) -> object:  # type: ignore[override]
        return iter(self.values())

    def get(self, network_id: str) -> Network:  # type: ignore[override]
        return self[network_id]

    def find_server(self, network: Network, answer: Answered) -> None:
        self.begun.append((network.id, answer))


@pytest.fixture
def networks() -> _Networks:
    """Three, of which two have one name."""
    return _Networks()


@pytest.fixture
def probe(networks: _Networks) -> Probe:
    """The questions about them."""
    engine = Engine()
    for network_id, name in ((LAN, "lan"), (CARD, "twin"), (TWIN, "twin")):
        engine.learn(NetworkSeen(network_id, name, None))
    nobody, nothing = cast(Registry, ()), cast(Bindings, ())
    return Actions(PlayedLoop(), engine, cast(Networks, networks), nobody, nothing).handlers[ProbeNetwork]


@pytest.mark.parametrize(
    ("report", "server", "error"),
    [
        (ServerReport(None, Family.IPV4, "192.0.2.1"), "192.0.2.1", None),
        (ServerReport("no DHCPOFFER on br-a", Family.IPV4), None, "no DHCPOFFER on br-a"),
    ],
)
def test_outcomes(
    probe: Probe, networks: _Networks, report: ServerReport, server: str | None, error: str | None
) -> None:
    """A server, or why there is none; both are answers."""
    answers: list[object] = []
    probe(ProbeNetwork("lan"), answers.append)
    assert answers == []
    ((asked, answered),) = networks.begun
    answered(report)
    assert asked == LAN
    assert answers == [NetworkProbed(LAN, "lan", "br-a", Family.IPV4, server, error)]


def test_not_possible(probe: Probe, networks: _Networks) -> None:
    """A job that ended without a word is no silent server."""
    answers: list[object] = []
    probe(ProbeNetwork(LAN[:12]), answers.append)
    networks.begun[0][1](None)
    assert isinstance(answers[0], Failed)


def test_one_at_a_time(probe: Probe, networks: _Networks) -> None:
    """A second question about the same LAN is refused while the first one is under way, and not afterwards."""
    probe(ProbeNetwork("lan"), lambda _: None)
    with pytest.raises(Conflict, match="already"):
        probe(ProbeNetwork("lan"), lambda _: None)
    networks.begun[0][1](None)
    probe(ProbeNetwork("lan"), lambda _: None)


def test_names(probe: Probe) -> None:
    """A name that nobody has, and one that two have."""
    with pytest.raises(NotFound):
        probe(ProbeNetwork("nothing"), lambda _: None)
    with pytest.raises(Conflict, match="2 networks"):
        probe(ProbeNetwork("twin"), lambda _: None)
