"""CreateNetwork: what is accepted, and that each refusal says whose the bridge is. The report about it is played."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from supervisor.contract.errors import Conflict, Failed, InvalidRequest, NotFound, RequestError
from supervisor.contract.messages import Answer, CreateNetwork, Done, IpamPool
from supervisor.driver import networks as module
from supervisor.driver.networks import Networks
from supervisor.engine import checks
from supervisor.engine.facts import Engine, EngineConnected, EngineLost, Fact, NetworkSeen, NetworksListed
from supervisor.runtime.jobs import Jobs
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.children import Home
from tests.supervisor.dockerfiles import DATABASE, LAN, WEB, DockerFiles
from tests.supervisor.samples import never
from workers.contract.finding import Finding, Severity
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import EndpointSpec
from workers.diagnosis.checks import IPV6_OFF
from workers.endpoint.server_probe import ServerReport
from workers.link.kind import ParentReport

POOLS = (IpamPool("null", "0.0.0.0/0"),)
STP = Finding("stp-delay", Severity.WARNING, "br-stp has STP on", "switch it off")
NO_UPLINK = Finding("no-uplink", Severity.WARNING, "br0 has no uplink", "make the card a port of it")
NO_IPV6 = IPV6_OFF.finding("the kernel has no IPv6", "leave it out")


def _probe(spec: LinkSpec, *, ipv6: bool) -> ParentReport:
    """Three bridges as the kernel might describe them, and one whose description fails."""
    name = spec.parent if not ipv6 else "br-v4"
    if spec.kind is LinkKind.MACVLAN:
        return ParentReport("wlan0 is a Wi-Fi card" if name == "wlan0" else None)
    if name == "br-crash":
        raise RuntimeError("a bug of ours")
    if name == "eth0":
        return ParentReport("eth0 is not a bridge")
    return ParentReport(None, {"br-stp": (STP,), "br-v4": (NO_IPV6,)}.get(name, ()))


@dataclass
class PlayedEngine:
    """The networks, and what the engine is known to have."""

    home: Home = field(default_factory=Home)
    engine: Engine = field(default_factory=Engine)

    def __post_init__(self) -> None:
        self.store = Store(Path("/nowhere"), Snapshot, never)
        self.store.problem = "no disk in this test"
        self.networks = Networks(Jobs(self.home.process_manager, self.home.loop), self.engine, self.store, 0)

    def create(self, network_id: str, **options: str) -> Answer | RequestError:
        """The answer to CreateNetwork, however it is given."""
        answers: list[Answer | RequestError] = []
        try:
            self.networks.create(CreateNetwork(network_id, options, POOLS), answers.append)
        except RequestError as error:
            return error
        self.home.wait_for(lambda: answers)
        return answers[0]


@pytest.fixture(name="context")
def _context(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedEngine]:
    monkeypatch.setattr(module, "probe_parent", _probe)
    context = PlayedEngine()
    yield context
    context.home.close()


def test_create_and_delete(context: PlayedEngine) -> None:
    """A network is known from its creation to its deletion; deleting what is not known is harmless."""
    assert context.create("n1", bridge="br0", skip_routes="true") == Done()
    assert context.networks.get("n1").options.skip_routes
    assert len(context.networks) == 1
    context.networks.delete("n1")
    context.networks.delete("n1")
    assert len(context.networks) == 0
    assert context.create("n2", bridge="br0") == Done()


def test_own_name(context: PlayedEngine) -> None:
    """A refusal shows the command with the name under which the plugin was installed; before the engine has told it,
    with a word in its place."""
    assert "docker network create -d DRIVER " in str(context.create("n1"))
    context.engine.learn(EngineConnected("/data", own_name="registry.example/dhcp:1.2"))
    assert "docker network create -d registry.example/dhcp:1.2 --ipam-driver null" in str(context.create("n1"))


def test_rootless_engine(context: PlayedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with that reason, rather than for the bridge that is not there."""
    monkeypatch.setattr(checks, "USER_IDS", tmp_path / "uid_map")
    checks.USER_IDS.write_text("0 1000 1\n1 100000 65536\n")
    refused = context.create("n1", bridge="eth0")
    assert isinstance(refused, Failed)
    assert "rootless, as user 1000" in str(refused)
    assert "install the plugin in an engine that runs as root" in str(refused)


def test_unknown(context: PlayedEngine) -> None:
    """Who asks for a network that is not known reads what to do about it."""
    with pytest.raises(NotFound, match="docker network rm"):
        context.networks.get("n1")


def test_the_same_again(context: PlayedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same request again is done, without another look at the bridge; with other options it is looked at."""
    assert context.create("n1", bridge="br0") == Done()
    monkeypatch.setattr(module, "probe_parent", lambda *_, **__: ParentReport("looked at again"))
    assert context.create("n1", bridge="br0") == Done()
    again = context.create("n1", bridge="br0", skip_routes="true")
    assert isinstance(again, InvalidRequest)
    assert str(again) == "option bridge: looked at again"


def test_findings(context: PlayedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found at the creation is remembered. Who asks later starts another look, and goes without it."""
    assert context.create("n1", bridge="br-stp") == Done()
    assert context.create("n2", bridge="br0") == Done()
    assert [(network.id, finding) for network, finding in context.networks.findings()] == [("n1", STP)]

    monkeypatch.setattr(module, "LOOK_SECONDS", -1.0)
    monkeypatch.setattr(module, "diagnose", lambda spec, **_: (NO_UPLINK,) if spec.parent == "br0" else ())
    assert [finding for _, finding in context.networks.findings()] == [STP]
    monkeypatch.setattr(module, "LOOK_SECONDS", 60.0)
    context.home.wait_for(lambda: [finding for _, finding in context.networks.findings()] == [NO_UPLINK])
    context.networks.delete("n2")
    assert [*context.networks.findings()] == []


def test_who_is_mixed_up_at_a_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a finding of the network beside those of its parent, until the containers are pinned."""
    monkeypatch.setattr(module, "probe_parent", _probe)
    monkeypatch.setattr(module, "diagnose", lambda *_, **__: (NO_UPLINK,))
    docker = DockerFiles(tmp_path)
    for container, name in ((WEB, "web"), (DATABASE, "db")):
        docker.configure(container, name)
        docker.configure_host(container, policy="always")
    docker.start()
    context = PlayedEngine(engine=docker.engine)
    assert context.create(LAN, bridge="br0") == Done()

    def found() -> list[str]:
        looked: list[bool] = []
        context.networks.look(looked.append)
        context.home.wait_for(lambda: looked == [True])
        return [str(finding) for _, finding in context.networks.findings()]

    words = "a boot may give these containers other addresses, as nothing tells them apart: db, web: net-dhcp pin"
    assert found() == [str(NO_UPLINK), words]
    assert [(network.id, one.name, one.like) for network, one in context.networks.alike()] == [
        (LAN, "db", ("web",)),
        (LAN, "web", ("db",)),
    ]
    docker.configure(WEB, "web", chosen_id="web")
    assert found() == [str(NO_UPLINK)]
    assert [*context.networks.alike()] == []
    context.home.close()
    docker.stop()


@pytest.mark.parametrize(
    ("bridge", "kind", "text"),
    [
        ("eth0", InvalidRequest, "option bridge: eth0 is not a bridge"),
        ("br-crash", Failed, "bridge br-crash could not be looked at"),
        ("docker0", Conflict, "option bridge: Docker itself hands out the addresses on docker0"),
        ("docker_gwbridge", Conflict, "option bridge: Docker itself hands out the addresses on docker_gwbridge"),
        ("br-ipam", Conflict, r"option bridge: Docker itself hands out the addresses on br-ipam \(network shop\)"),
        ("br-lan", Conflict, "option bridge: br-lan is already used by network lan; .*ignore_conflicts=true"),
    ],
)
def test_refused(context: PlayedEngine, bridge: str, kind: type[RequestError], text: str) -> None:
    """A bridge that cannot be used or is somebody else's is refused with the reason, and nothing is remembered."""
    context.engine.learn(NetworkSeen("x1", "shop", "br-ipam"))
    context.engine.learn(NetworkSeen("n0", "lan", None))
    assert context.create("n0", bridge="br-lan") == Done()
    refusal = context.create("n1", bridge=bridge)
    assert isinstance(refusal, kind)
    with pytest.raises(kind, match=text):
        raise refusal
    assert [network.id for network in context.networks] == ["n0"]


def test_refused_parent(context: PlayedEngine) -> None:
    """The refusals of a parent name its option; a second network on one parent is refused, unless the user insists."""
    assert str(context.create("n1", parent="wlan0")) == "option parent: wlan0 is a Wi-Fi card"
    assert context.create("n1", parent="eth0") == Done()
    assert "option parent: eth0 is already used by network n1" in str(context.create("n2", parent="eth0"))
    assert context.create("n2", parent="eth0", ignore_conflicts="true", macvlan_mode="private") == Done()


@pytest.mark.parametrize("bridge", ["docker0", "br-ipam", "br-lan"])
def test_ignore_conflicts(context: PlayedEngine, bridge: str) -> None:
    """Who says so may use a bridge that is somebody else's."""
    context.engine.learn(NetworkSeen("x1", "shop", "br-ipam"))
    assert context.create("n0", bridge="br-lan") == Done()
    assert context.create("n1", bridge=bridge, ignore_conflicts="true") == Done()


def test_ignore_conflicts_is_about_others(context: PlayedEngine) -> None:
    """It does not make a bridge of what is none."""
    assert isinstance(context.create("n1", bridge="eth0", ignore_conflicts="true"), InvalidRequest)


@pytest.mark.parametrize(
    ("error", "text"), [(None, None), ("no DHCPOFFER", "option validate_dhcp: no DHCPOFFER"), ("bug", "could be asked")]
)
def test_validated(context: PlayedEngine, monkeypatch: pytest.MonkeyPatch, error: str | None, text: str | None) -> None:
    """A network whose creator wants a server to answer exists if one does; else the reason is told."""

    def probe(spec: EndpointSpec, channel: Connection) -> None:
        assert (spec.link.parent, spec.lease_timeout, spec.client_identity.vendor_class) == ("br0", 2.0, "phones")
        if error == "bug":
            raise RuntimeError("a bug of ours")
        channel.send(ServerReport(error))

    monkeypatch.setattr(module, "probe_server", probe)
    options = {"bridge": "br0", "lease_timeout": "2s", "vendor_class": "phones"}
    answer = context.create("n1", validate_dhcp="true", **options)
    assert (answer == Done(), len(context.networks)) == ((True, 1) if text is None else (False, 0))
    assert text is None or text in str(answer)
    assert context.create("n2", ignore_conflicts="true", **options) == Done()  # nobody is asked


def test_forgotten_by_the_engine(context: PlayedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that a connected engine does not have keeps nobody from its bridge, once that is sure."""
    assert context.create("n1", bridge="br0") == Done()
    context.engine.connected = True
    assert isinstance(context.create("n2", bridge="br0"), Conflict)
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.0)
    assert context.create("n2", bridge="br0") == Done()


def test_forgetting_takes_an_engine(context: PlayedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a connection to the engine nothing is taken for forgotten, nor is what it has."""
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.0)
    assert context.create("n1", bridge="br0") == Done()
    assert isinstance(context.create("n2", bridge="br0"), Conflict)
    context.engine.connected = True
    context.engine.learn(NetworkSeen("n1", "lan", None))
    assert isinstance(context.create("n2", bridge="br0"), Conflict)


def listed(context: PlayedEngine) -> None:
    """The engine is connected and lists no network but one."""
    for fact in (EngineConnected("/data"), NetworkSeen("n0", "lan", None), NetworksListed()):
        context.engine.learn(fact)


def test_forgotten_networks(context: PlayedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a complete list lacks that was begun later than it was accepted is dropped, unless an endpoint is on it."""
    for name in ("n0", "n1", "n2"):
        assert context.create(name, bridge=f"br-{name}") == Done()
    monkeypatch.setattr(module, "SURE_SECONDS", 0.0)
    listed(context)
    assert context.networks.drop_forgotten({"n2"}) == ("n1",)
    assert {network.id for network in context.networks} == {"n0", "n2"}
    assert context.networks.drop_forgotten({"n2"}) == ()


def test_missing_networks_are_listed_again_first(context: PlayedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that may be older than a network drops nothing; that a new one is needed is said once, in its time."""
    listed(context)
    assert context.create("n1", bridge="br0") == Done()
    assert not context.networks.newly_missing(())
    monkeypatch.setattr(module, "SURE_SECONDS", 0.0)
    assert context.networks.drop_forgotten(()) == ()
    assert not context.networks.newly_missing({"n1"})
    assert [context.networks.newly_missing(()) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("fact", [EngineLost("a crash"), EngineConnected("/data")])
def test_no_list_nothing_forgotten(context: PlayedEngine, monkeypatch: pytest.MonkeyPatch, fact: Fact) -> None:
    """Without a complete list of the present connection no network is dropped or missing."""
    assert context.create("n1", bridge="br0") == Done()
    monkeypatch.setattr(module, "SURE_SECONDS", 0.0)
    listed(context)
    context.engine.learn(fact)
    assert (context.networks.drop_forgotten(()), context.networks.newly_missing(())) == ((), False)


def test_at_the_same_time(context: PlayedEngine) -> None:
    """Of two networks that are made at once on one bridge only one comes to be."""
    answers: list[Answer | RequestError] = []
    for network_id in ("n1", "n2"):
        context.networks.create(CreateNetwork(network_id, {"bridge": "br0"}, POOLS), answers.append)
    context.home.wait_for(lambda: len(answers) == 2)
    answers.sort(key=lambda answer: answer != Done())  # either may come first
    assert [type(answer) for answer in answers] == [Done, Conflict]
    assert len(context.networks) == 1


def test_warnings(context: PlayedEngine, caplog: pytest.LogCaptureFixture) -> None:
    """What will hurt later is logged, with the network's id and the bridge; the network is accepted."""
    assert context.create("n1", bridge="br-stp") == Done()
    (record,) = [r for r in caplog.records if r.levelname == "WARNING"]
    assert record.getMessage() == "br-stp has STP on: switch it off"
    assert record.__dict__["network"] == "n1"
    assert record.__dict__["interface"] == "br-stp"


def test_host_without_ipv6(context: PlayedEngine) -> None:
    """A network that wants what the kernel does not have is refused; one without IPv6 is none of that."""
    refusal = context.create("n1", bridge="br0", ipv6="true")
    assert isinstance(refusal, InvalidRequest)
    assert str(refusal) == "option ipv6: the kernel has no IPv6: leave it out"
    assert context.create("n1", bridge="br0") == Done()


def test_storage_driver(context: PlayedEngine, caplog: pytest.LogCaptureFixture) -> None:
    """A driver that costs containers their MAC addresses is warned of, with how to keep them."""
    context.engine.learn(EngineConnected("/data", "vfs"))
    assert context.create("n1", bridge="br0") == Done()
    assert "Docker's storage driver vfs does not show" in caplog.text
    assert "driver-opt=id=NAME" in caplog.text


def test_other_ipam(context: PlayedEngine) -> None:
    """A network for which Docker would hand out addresses is refused before anything else is looked at."""
    with pytest.raises(InvalidRequest, match="null IPAM"):
        context.networks.create(CreateNetwork("n1", {}, (IpamPool("LocalDefault", "10.0.0.0/8"),)), lambda _: None)
