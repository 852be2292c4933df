"""Which container a request is for: found in a mount table and in files like the engine's, or not at all."""

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

import supervisor.engine.identity
from supervisor.engine.container_files import Identity
from supervisor.engine.facts import EngineLost
from supervisor.engine.identity import MISTAKES, Identifier
from tests.supervisor.dockerfiles import DATABASE, LAN, MAIL, OFFICE, WEB, DockerFiles, create_endpoint

GIVEN = "02:11:22:aa:bb:cc"
TCP, UDP, SCTP = 6, 17, 132
WEB_IDENTITY = Identity(WEB, "web", "web-host")
ENDPOINT = "e" * 64
WITH_PORTS = """{
    "ID": "x", "Name": "/x", "Config": {"Hostname": "x", "ExposedPorts": {"%s": {}}},
    "State": {"Running": false}, "NetworkSettings": {"Networks": {"lan": {}}}
}"""


@pytest.fixture(name="docker")
def _docker(tmp_path: Path) -> Iterator[DockerFiles]:
    docker = DockerFiles(tmp_path)
    yield docker
    docker.stop()


@pytest.fixture(name="two")
def _two(docker: DockerFiles) -> DockerFiles:
    """Two containers that are mounted and wait for the same network."""
    docker.mount("m1")
    docker.mount("m2")
    docker.know(WEB, "m1")
    docker.know(DATABASE, "m2")
    docker.configure(WEB, "web", ports=("80/tcp", "443/udp"))
    docker.configure(DATABASE, "db", ports=("5432/tcp",))
    docker.configure_host(WEB)
    docker.configure_host(DATABASE)
    docker.start()
    return docker


def test_one_candidate(docker: DockerFiles) -> None:
    """The container that is mounted, not running and configured for the network is the one."""
    docker.mount("m1")
    docker.know(WEB, "m1")
    docker.configure(WEB, "web")
    docker.configure(DATABASE, "not-mounted")
    docker.start()
    assert Identifier(docker.engine).at_create(create_endpoint(), set()) == WEB_IDENTITY


def test_containerd_image_store(docker: DockerFiles) -> None:
    """There the mount point itself names the container."""
    docker.mount_by_containerd(WEB)
    docker.configure(WEB, "web")
    docker.start()
    assert Identifier(docker.engine).at_create(create_endpoint(), set()) == WEB_IDENTITY


def test_running(two: DockerFiles) -> None:
    """A container that runs is not the one being started."""
    two.configure(DATABASE, "db", running=True)
    assert Identifier(two.engine).at_create(create_endpoint(), set()) == WEB_IDENTITY


def test_restarting(two: DockerFiles) -> None:
    """One that ended and is started again by its restart policy is: the engine's file calls it running all along."""
    two.configure(WEB, "web", restarting=True)
    two.configure(DATABASE, "db", running=True)
    assert Identifier(two.engine).at_create(create_endpoint(), set()) == WEB_IDENTITY


@pytest.mark.parametrize(("chosen_id", "name"), [("x", "web"), ("y", "db"), ("z", None), (None, None)])
def test_told_apart_by_chosen_id(two: DockerFiles, chosen_id: str | None, name: str | None) -> None:
    """The engine sends the id that a container was given for this network: it is that one's, or nobody's."""
    two.configure(WEB, "web", chosen_id="x")
    two.configure(DATABASE, "db", chosen_id="y")
    found = Identifier(two.engine).at_create(create_endpoint(chosen_id=chosen_id), set())
    assert (found and found.name) == name


def test_connected_again_by_its_own_id(two: DockerFiles) -> None:
    """A running container without an endpoint there is meant by its own id, also while others start; a container that
    does not run, or has its endpoint, is not."""
    two.configure(MAIL, "mail", network="office", running=True)
    identifier = Identifier(two.engine)
    assert identifier.at_create(create_endpoint(chosen_id=MAIL), set()) == Identity(MAIL, "mail", "mail-host")
    assert identifier.at_create(create_endpoint(chosen_id=MAIL), {MAIL}) is None
    two.configure(MAIL, "mail", network="office")
    assert identifier.at_create(create_endpoint(chosen_id=MAIL), set()) is None
    assert identifier.at_create(create_endpoint(chosen_id="../mail"), set()) is None


def test_started_again_by_its_own_id(two: DockerFiles) -> None:
    """The engine keeps the id, which tells the container from others at each later start."""
    two.configure(WEB, "web", chosen_id=WEB)
    assert Identifier(two.engine).at_create(create_endpoint(chosen_id=WEB), set()) == WEB_IDENTITY


def test_without_a_chosen_id(two: DockerFiles) -> None:
    """A request without an id is not for the container that has one."""
    two.configure(WEB, "web", chosen_id="x")
    two.configure(DATABASE, "db")
    found = Identifier(two.engine).at_create(create_endpoint(), set())
    assert found == Identity(DATABASE, "db", "db-host")


def test_another_network(two: DockerFiles) -> None:
    """A container that is not configured for this network is not the one; who waits for the other network is."""
    two.configure(DATABASE, "db", network="office")
    identifier = Identifier(two.engine)
    assert identifier.at_create(create_endpoint(), set()) == WEB_IDENTITY
    assert identifier.at_create(create_endpoint(network=OFFICE), set()) == Identity(DATABASE, "db", "db-host")


def test_taken(two: DockerFiles) -> None:
    """A container that has its endpoint on this network already is not the one."""
    assert Identifier(two.engine).at_create(create_endpoint(), {DATABASE}) == WEB_IDENTITY


@pytest.mark.parametrize(
    ("ports", "name"),
    [
        ([(TCP, 80), (UDP, 443)], "web"),
        ([(TCP, 5432)], "db"),
        ([(TCP, 80)], None),
        ([(UDP, 5432)], None),
        ([], None),
    ],
)
def test_told_apart_by_ports(two: DockerFiles, ports: list[tuple[int, int]], name: str | None) -> None:
    """Of several candidates the one with exactly the request's ports is meant; none is guessed."""
    found = Identifier(two.engine).at_create(create_endpoint(*ports), set())
    assert (found and found.name) == name


def test_alike(two: DockerFiles) -> None:
    """Two that cannot be told apart are nobody."""
    two.configure(DATABASE, "db", ports=("80/tcp", "443/udp"))
    assert Identifier(two.engine).at_create(create_endpoint((TCP, 80), (UDP, 443)), set()) is None


@pytest.mark.parametrize(("mac", "mac_here"), [(GIVEN.upper(), None), (None, GIVEN)], ids=["container", "network"])
def test_told_apart_by_mac(two: DockerFiles, mac: str | None, mac_here: str | None) -> None:
    """A MAC that the user gave tells its container from one that has none."""
    two.configure(WEB, "web")
    two.configure(DATABASE, "db", mac=mac, mac_here=mac_here)
    identifier = Identifier(two.engine)
    assert identifier.at_create(create_endpoint(), set()) == WEB_IDENTITY
    given = identifier.at_create(replace(create_endpoint(), mac=GIVEN), set())
    assert (given and given.name) == "db"


@pytest.mark.parametrize(("mac", "mac_here"), [(GIVEN.upper(), None), (None, GIVEN)], ids=["container", "network"])
def test_told_apart_by_mac_at_a_boot(two: DockerFiles, mac: str | None, mac_here: str | None) -> None:
    """Also before the engine's API has told the network's name, by which the user chose it."""
    two.configure(WEB, "web", network_id=LAN)
    two.configure(DATABASE, "db", network_id=LAN, mac=mac, mac_here=mac_here)
    two.engine.networks.clear()
    identifier = Identifier(two.engine)
    assert identifier.at_create(create_endpoint(), set()) == WEB_IDENTITY
    given = identifier.at_create(replace(create_endpoint(), mac=GIVEN), set())
    assert (given and given.name) == "db"


@pytest.mark.parametrize(("mac", "mac_here"), [(GIVEN.upper(), None), (None, GIVEN)], ids=["container", "network"])
def test_chosen_mac(two: DockerFiles, mac: str | None, mac_here: str | None) -> None:
    """The MAC that the user gave is known, running or not; none was given, or to no such container."""
    two.configure(DATABASE, "db", mac=mac, mac_here=mac_here, running=True)
    identifier = Identifier(two.engine)
    assert [identifier.chosen_mac(one, LAN) for one in (DATABASE, WEB, MAIL)] == [GIVEN, None, None]
    assert identifier.chosen_mac(DATABASE, OFFICE) is None


def test_a_mac_for_another_network(two: DockerFiles) -> None:
    """A MAC that the user gave for the container's first network is not in the request for its second one."""
    two.configure(WEB, "web")
    for mac, others in ((GIVEN, {"office": ""}), (None, {"office": GIVEN})):
        two.configure(DATABASE, "db", mac=mac, others=others)
        two.configure_host(DATABASE, first_network="office")
        assert Identifier(two.engine).at_create(create_endpoint(), set()) is None
        given = Identifier(two.engine).at_create(replace(create_endpoint(), mac=GIVEN), set())
        assert given is None


@pytest.mark.parametrize(
    ("published", "name"),
    [
        ({(TCP, 80, 8080)}, "web"),
        ({(TCP, 80, 8081), (TCP, 80, 9000)}, "db"),
        ({(TCP, 80, 8082)}, None),
        (set(), None),
    ],
)
def test_told_apart_by_published_ports(
    two: DockerFiles, published: set[tuple[int, int, int]], name: str | None
) -> None:
    """Two of one image differ in their ports on the host; a request without any may be for a second network."""
    for container, called, ports in ((WEB, "web", ("8080",)), (DATABASE, "db", ("8081", "9000-9010"))):
        two.configure(container, called, ports=("80/tcp",))
        two.configure_host(container, published={"80/tcp": ports})
    request = replace(create_endpoint((TCP, 80)), published=frozenset(published))
    found = Identifier(two.engine).at_create(request, set())
    assert (found and found.name) == name


def test_all_ports_published(two: DockerFiles) -> None:
    """Ports on the host that the engine chooses are no mark of a container."""
    for container, called in ((WEB, "web"), (DATABASE, "db")):
        two.configure(container, called, ports=("80/tcp",))
    two.configure_host(WEB, publishes_all=True)
    two.configure_host(DATABASE, published={"80/tcp": ("",)})
    request = replace(create_endpoint((TCP, 80)), published=frozenset({(TCP, 80, 0)}))
    assert Identifier(two.engine).at_create(request, set()) is None


@pytest.mark.parametrize(("dns", "name"), [(["192.0.2.1"], None), (["192.0.2.9"], "db"), ([], "db")])
def test_told_apart_by_name_servers(two: DockerFiles, dns: list[str], name: str | None) -> None:
    """A container's own name servers are in its request; where it has none, the daemon's may be."""
    two.configure(WEB, "web")
    two.configure(DATABASE, "db")
    two.configure_host(WEB, dns=("192.0.2.1",))
    found = Identifier(two.engine).at_create(replace(create_endpoint(), dns=frozenset(dns)), set())
    assert (found and found.name) == name


def test_request_that_says_nothing_of_ports(two: DockerFiles) -> None:
    """It is for a second network, or an internal one: it excludes nobody."""
    two.configure(DATABASE, "db", ports=())
    two.configure_host(WEB, published={"80/tcp": ("8080",)}, dns=("192.0.2.1",))
    assert Identifier(two.engine).at_create(replace(create_endpoint(), exposed_ports=None), set()) is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"RestartPolicy": null}', '{"RestartPolicy": {"Name": "no"}, "Dns": 7}']
)
def test_another_form_of_host_configuration(two: DockerFiles, text: str) -> None:
    """What cannot be read excludes nobody."""
    (two.root / "containers" / WEB / "hostconfig.json").write_text(text)
    assert Identifier(two.engine).at_create(create_endpoint((TCP, 5432)), set()) is None


def test_without_ports(two: DockerFiles) -> None:
    """No ports are a mark as well, in both of the forms that the engine writes."""
    two.configure(DATABASE, "db", ports=None)
    found = Identifier(two.engine).at_create(create_endpoint(), set())
    assert found == Identity(DATABASE, "db", "db-host")


def test_sctp(two: DockerFiles) -> None:
    """The third of the protocols that can be exposed counts too."""
    two.configure(DATABASE, "db", ports=("2905/sctp",))
    found = Identifier(two.engine).at_create(create_endpoint((SCTP, 2905)), set())
    assert found == Identity(DATABASE, "db", "db-host")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"ID": "x", "Name": null}',
        '{"ID": "x", "Name": "/x", "Config": {"Hostname": "x"}, "State": null, "NetworkSettings": {"Networks": {}}}',
        '{"ID": "x", "Name": "/x", "Config": {"Hostname": "x"}, "State": {"Running": false}, "NetworkSettings": null}',
        WITH_PORTS % "80/quic",
        WITH_PORTS % "http/tcp",
    ],
)
def test_another_form(two: DockerFiles, text: str) -> None:
    """A configuration of another form is no candidate, and costs the others nothing."""
    two.write_configuration(DATABASE, text)
    assert Identifier(two.engine).at_create(create_endpoint(), set()) == WEB_IDENTITY


def test_a_note_that_is_missing(two: DockerFiles) -> None:
    """A left-over directory of the classic store without its note does not hide the containers beside it."""
    for name in ("0" * 64, "9" * 64, "d" * 64, "f" * 64):
        (two.mounts / name).mkdir()
    assert Identifier(two.engine).at_create(create_endpoint(), {DATABASE}) == WEB_IDENTITY
    assert Identifier(two.engine).at_create(create_endpoint((TCP, 5432)), set()) is not None


def test_mounts_are_learnt_when_they_come(two: DockerFiles) -> None:
    """A container that was made after the first look is found at the next one."""
    identifier = Identifier(two.engine)
    identifier.at_create(create_endpoint(), set())
    two.stop()
    two.mount("m3")
    two.know(MAIL, "m3")
    two.configure(MAIL, "mail")
    two.start()
    assert identifier.at_create(create_endpoint(), {WEB, DATABASE}) == Identity(MAIL, "mail", "mail-host")


def test_unknown_network(two: DockerFiles) -> None:
    """As long as the watcher has not named the network nobody is found."""
    assert Identifier(two.engine).at_create(create_endpoint(network="3" * 64), {DATABASE}) is None


def test_engine_unknown_or_gone(two: DockerFiles) -> None:
    """Without dockerd's pid, and with one that has ended, nobody is found."""
    identifier = Identifier(two.engine)
    two.stop()
    assert identifier.at_create(create_endpoint(), {DATABASE}) is None
    two.engine.pid = None
    assert identifier.at_create(create_endpoint(), {DATABASE}) is None
    assert identifier.at_join(LAN, ENDPOINT) is None


def test_join(two: DockerFiles) -> None:
    """The engine's store names the container of the endpoint, whatever other endpoints it holds."""
    two.write_store({"f" * 64: "db", ENDPOINT: "web", "9" * 64: "db"})
    assert Identifier(two.engine).at_join(LAN, ENDPOINT) == WEB_IDENTITY
    assert Identifier(two.engine).at_join(OFFICE, ENDPOINT) is None


def test_join_while_running(two: DockerFiles) -> None:
    """A container that is connected while it runs is found as well, and told from one that is being started."""
    identifier = Identifier(two.engine)
    assert not identifier.runs(WEB_IDENTITY)
    two.configure(WEB, "web", running=True)
    two.write_store({ENDPOINT: "web"})
    assert identifier.at_join(LAN, ENDPOINT) == WEB_IDENTITY
    assert identifier.runs(WEB_IDENTITY)


def test_join_after_another_name(two: DockerFiles) -> None:
    """A container that has got another's name since its configuration was read is the one that is meant."""
    identifier = Identifier(two.engine)
    two.write_store({ENDPOINT: "web"})
    assert identifier.at_join(LAN, ENDPOINT) == WEB_IDENTITY
    two.configure(WEB, "old")
    two.configure(DATABASE, "web")
    assert identifier.at_join(LAN, ENDPOINT) == Identity(DATABASE, "web", "web-host")


def test_seems_to_start_again_and_again(two: DockerFiles) -> None:
    """A container whose root a crash of the engine has left mounted is not taken for each that is connected, until it
    joins itself."""
    identifier = Identifier(two.engine)

    def found() -> Identity | None:
        return identifier.at_create(create_endpoint(), {DATABASE})

    for _ in range(MISTAKES):
        assert found() == WEB_IDENTITY
        two.write_store({ENDPOINT: "db"})
        assert identifier.stranger_at_join(LAN, ENDPOINT, WEB_IDENTITY) == "db"
    assert found() is None
    two.write_store({ENDPOINT: "web"})
    assert identifier.stranger_at_join(LAN, ENDPOINT, WEB_IDENTITY) is None
    assert identifier.at_join(LAN, ENDPOINT) == WEB_IDENTITY
    assert found() == WEB_IDENTITY


@pytest.mark.parametrize("content", [b"", b"\x00" * 4096], ids=["empty", "blank"])
def test_join_without_a_name(two: DockerFiles, content: bytes) -> None:
    """A store that does not name a container that is there names none."""
    two.write_store_file(content)
    assert Identifier(two.engine).at_join(LAN, ENDPOINT) is None
    two.write_store({"f" * 64: "web", ENDPOINT: "nobody"})
    assert Identifier(two.engine).at_join(LAN, ENDPOINT) is None


def test_stored_endpoints(two: DockerFiles) -> None:
    """Those of this network, also of containers that are not known."""
    two.write_store({"f" * 64: "web", ENDPOINT: "nobody"})
    identifier = Identifier(two.engine)
    assert identifier.stored(LAN) == {"f" * 64, ENDPOINT}
    assert not identifier.stored("9" * 64)


def test_join_without_a_store(two: DockerFiles) -> None:
    """An engine that keeps its endpoints elsewhere costs the name, nothing else."""
    assert Identifier(two.engine).at_join(LAN, ENDPOINT) is None
    assert not Identifier(two.engine).stored(LAN)


def test_comes_back_after_its_death(docker: DockerFiles) -> None:
    """A container whose process lives was disconnected; one whose process is dead, buried or not, is started again."""
    in_every_cgroup = ":"
    docker.configure(in_every_cgroup, "web", pid=os.getpid())
    docker.configure_host(in_every_cgroup, policy="always")
    docker.start()
    identity = Identity(in_every_cgroup, "web", "web-host")
    assert not Identifier(docker.engine).comes_back(identity)
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        docker.configure(in_every_cgroup, "web", pid=child.pid)
        assert Identifier(docker.engine).comes_back(identity)
    assert Identifier(docker.engine).comes_back(identity)


@pytest.mark.parametrize(
    ("policy", "stopped", "engine_starts", "expected"),
    [
        ("no", False, False, False),
        ("always", False, False, True),
        ("unless-stopped", False, False, True),
        ("on-failure", False, False, True),
        ("always", True, False, False),
        ("unless-stopped", True, False, False),
        ("always", True, True, True),
        ("unless-stopped", True, True, False),
        ("no", True, True, False),
    ],
)
def test_comes_back(docker: DockerFiles, policy: str, stopped: bool, engine_starts: bool, expected: bool) -> None:
    """As the restart policy says, unless a user has stopped it: which is not so where the engine's API did not answer,
    but the engine starts only `always` then."""
    docker.configure(WEB, "web", stopped=stopped)
    docker.configure_host(WEB, policy=policy)
    docker.start()
    if engine_starts:
        docker.engine.learn(EngineLost("a crash"))
    assert Identifier(docker.engine).comes_back(WEB_IDENTITY) is expected


@pytest.fixture(name="left")
def _left(two: DockerFiles) -> DockerFiles:
    """The same two, alike, and one of them is a remnant."""
    two.configure(DATABASE, "db", ports=("80/tcp", "443/udp"))
    two.leave_mounted("m2")
    return two


def test_left_mounted(left: DockerFiles) -> None:
    """A root that an engine before this one has mounted is not that of a container being started, if another's is;
    where all are such, or there is but one, it may be."""
    request, identifier = create_endpoint((TCP, 80), (UDP, 443)), Identifier(left.engine)
    database = Identity(DATABASE, "db", "db-host")
    assert identifier.at_create(request, set()) == WEB_IDENTITY
    assert identifier.at_create(request, {WEB}) == database
    assert [identifier.is_starting(one) for one in (WEB_IDENTITY, database, None)] == [True, False, False]
    left.leave_mounted("m1")
    assert identifier.at_create(request, set()) is None


@pytest.mark.parametrize(
    ("mounted_ago", "ended_ago", "name"),
    [(3600, 3600, "web"), (3600, 0, None), (20, 3600, None)],
    ids=["left alone", "ended just now", "left just now"],
)
def test_may_be_starting_again(left: DockerFiles, mounted_ago: float, ended_ago: float, name: str | None) -> None:
    """One that was mounted by an engine before is no remnant as long as it may be in a restart, or be brought back."""
    left.leave_mounted("m2", mounted_ago)
    ended = datetime.now(UTC) - timedelta(seconds=ended_ago)
    left.configure(DATABASE, "db", ports=("80/tcp", "443/udp"), ended=ended.isoformat())
    found = Identifier(left.engine).at_create(create_endpoint((TCP, 80), (UDP, 443)), set())
    assert (found and found.name) == name


def test_left_mounted_at_a_boot(left: DockerFiles) -> None:
    """Before its API answers an engine starts what was left mounted."""
    left.engine.learn(EngineLost("it ended"))
    assert Identifier(left.engine).at_create(create_endpoint((TCP, 80), (UDP, 443)), set()) is None


def test_start_that_takes_long(left: DockerFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this engine has mounted is no remnant, however long ago that was."""
    monkeypatch.setattr(supervisor.engine.identity, "_beginning", lambda _: 0.0)
    assert Identifier(left.engine).at_create(create_endpoint((TCP, 80), (UDP, 443)), set()) is None


SANDBOXES = {"5" * 64: WEB, "6" * 64: DATABASE, "7" * 64: MAIL}


@pytest.fixture(name="alike")
def _alike(tmp_path: Path) -> Iterator[DockerFiles]:
    """Three containers that nothing in a request tells apart, all mounted; the engine has not started yet."""
    docker = DockerFiles(tmp_path)
    for mount, container, name in (("m1", WEB, "web"), ("m2", DATABASE, "db"), ("m3", MAIL, "mail")):
        docker.mount(mount)
        docker.know(container, mount)
        docker.configure(container, name, ports=(f"{len(name)}/tcp",))
        docker.configure_host(container)
    yield docker
    docker.stop()


@pytest.mark.parametrize(
    ("version", "bound", "taken", "name"),
    [
        ("29.7.1", "5", set(), "web"),
        ("28.0.0", "6", set(), "db"),
        ("29.7.1", "56", set(), None),
        ("29.7.1", "56", {WEB}, "db"),
        ("29.7.1", "", set(), None),
        ("27.5.1", "5", set(), None),
        ("", "5", set(), None),
    ],
)
def test_told_apart_by_sandbox(alike: DockerFiles, version: str, bound: str, taken: set[str], name: str | None) -> None:
    """From Docker 28 on the container that asks has its sandbox; before, one that has it is just ending, or has asked.
    An engine of an unknown version may be an old one."""
    for sandbox in SANDBOXES:
        alike.bind_sandbox(sandbox, bound=sandbox[0] in bound)
    alike.write_store({}, SANDBOXES)
    alike.start(version)
    found = Identifier(alike.engine).at_create(create_endpoint(), taken)
    assert (found and found.name) == name


def test_one_whose_sandbox_is_not_there(alike: DockerFiles) -> None:
    """While another one that runs is connected, a single container that is being started is not taken for it."""
    for sandbox in SANDBOXES:
        alike.bind_sandbox(sandbox, bound=sandbox[0] != "5")
    alike.write_store({}, SANDBOXES)
    alike.start("29.7.1")
    identifier = Identifier(alike.engine)
    assert identifier.at_create(create_endpoint(), {DATABASE, MAIL}) is None
    assert identifier.at_create(create_endpoint(), {WEB, MAIL}) == Identity(DATABASE, "db", "db-host")


@pytest.mark.parametrize("case", ["no store", "no directory"])
def test_sandboxes_that_are_not_known(alike: DockerFiles, case: str) -> None:
    """A store that cannot be read, or another directory of the sandboxes, excludes nobody."""
    alike.bind_sandbox("5" * 64)
    alike.write_store({}, SANDBOXES)
    alike.start("29.7.1")
    if case == "no store":
        alike.write_store_file(b"")
    else:
        alike.engine.saw_sandbox("/somewhere/else/netns/x")
    identifier = Identifier(alike.engine)
    assert identifier.at_create(create_endpoint(), set()) is None
    assert identifier.at_create(create_endpoint(), {DATABASE, MAIL}) == WEB_IDENTITY


def test_told_apart_by_stored_endpoints(alike: DockerFiles) -> None:
    """A live endpoint whose container we do not know is in the engine's store with its container's name, on every
    engine, as the next request comes after it is written."""
    alike.write_store({"8" * 64: "web", "9" * 64: "mail"})
    alike.start("20.10.24")
    identifier = Identifier(alike.engine)
    assert identifier.at_create(create_endpoint(), set()) is None
    assert identifier.at_create(create_endpoint(), set(), {"8" * 64}) is None
    assert identifier.at_create(create_endpoint(), {MAIL}, {"8" * 64}) == Identity(DATABASE, "db", "db-host")
    found = identifier.at_create(create_endpoint(), set(), {"8" * 64, "9" * 64})
    assert found == Identity(DATABASE, "db", "db-host")


@pytest.mark.parametrize(
    ("version", "sent", "name"),
    [
        ("28.5.2", {(TCP, 3)}, "web"),
        ("28.5.2", set(), None),
        ("29.7.1", set(), "web"),
        ("29.7.1", {(TCP, 3)}, "mail"),
        ("29.7.1", {(TCP, 2)}, "db"),
        ("29.7.1", {(TCP, 4)}, None),
        ("", {(TCP, 2)}, "db"),
        ("", {(TCP, 3)}, None),
    ],
)
def test_ports_as_each_engine_sends_them(
    alike: DockerFiles, version: str, sent: set[tuple[int, int]], name: str | None
) -> None:
    """Until Docker 28 all that are exposed, from 29 on those that are published; of an unknown engine both count."""
    alike.configure_host(MAIL, published={"3/tcp": ("",)})
    alike.configure_host(DATABASE, publishes_all=True)
    alike.start(version)
    found = Identifier(alike.engine).at_create(create_endpoint(*sent), set())
    assert (found and found.name) == name


def test_sign_that_excludes_the_right_one(alike: DockerFiles, caplog: pytest.LogCaptureFixture) -> None:
    """Join shows whose request it was: a sign that had excluded that container is a defect, logged and kept."""
    alike.write_store({ENDPOINT: "mail"})
    alike.start("28.5.2")
    identifier = Identifier(alike.engine)
    assert identifier.at_create(create_endpoint(), set()) is None
    mail = identifier.at_join(LAN, ENDPOINT)
    assert mail
    for _ in range(2):
        identifier.learn(ENDPOINT, mail)
    (problem,) = identifier.problems
    assert problem.startswith(
        "container mail was not recognised, as its exposed ports did not fit what Docker 28.5.2 sent: please report"
    )
    assert caplog.text.count(problem) == 1


def test_sign_that_excludes_others(alike: DockerFiles) -> None:
    """A sign that has excluded those that it should is no defect, also not after another request of the container."""
    alike.write_store({ENDPOINT: "web"})
    alike.start("28.5.2")
    identifier = Identifier(alike.engine)
    assert identifier.at_create(create_endpoint((TCP, 3)), set()) == WEB_IDENTITY
    assert identifier.stranger_at_join(LAN, ENDPOINT, WEB_IDENTITY) is None
    identifier.learn(ENDPOINT, Identity(MAIL, "mail", "mail-host"))
    assert identifier.problems == ()


@pytest.fixture(name="untold")
def _untold(tmp_path: Path) -> DockerFiles:
    """Two containers, of which one runs, with a storage driver that mounts nothing, before Docker 28."""
    docker = DockerFiles(tmp_path, "vfs")
    docker.configure(WEB, "web")
    docker.configure(DATABASE, "db", running=True)
    docker.start("27.5.1")
    return docker


def test_driver_that_mounts_nothing(untold: DockerFiles) -> None:
    """The only container of the network that neither runs nor has an endpoint there is the one; of two none is."""
    identifier = Identifier(untold.engine)
    assert identifier.at_create(create_endpoint(), set()) == WEB_IDENTITY
    assert identifier.at_create(create_endpoint(network=OFFICE), set()) is None
    assert identifier.at_create(create_endpoint(), {WEB}) is None

    untold.configure(DATABASE, "db")
    assert identifier.at_create(create_endpoint(), set()) is None
    untold.stop()


def test_taken_for_one_that_is_stopped(untold: DockerFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running container that is connected may be taken for one that is stopped. Join shows it, and the next try is
    not mistaken; later the stopped one is recognised again."""
    identifier = Identifier(untold.engine)
    assert identifier.at_create(create_endpoint(), set()) == WEB_IDENTITY
    untold.write_store({ENDPOINT: "db"})
    assert identifier.stranger_at_join(LAN, ENDPOINT, WEB_IDENTITY) == "db"
    assert identifier.at_create(create_endpoint(), set()) is None
    found = identifier.at_join(LAN, ENDPOINT)
    assert found
    assert found.name == "db"

    monkeypatch.setattr(supervisor.engine.identity, "DOUBT_SECONDS", 0.0)
    assert identifier.at_create(create_endpoint(), set()) == WEB_IDENTITY
    untold.stop()


@pytest.mark.parametrize(("bound", "name"), [("5", "web"), ("6", "db"), ("56", None), ("", None)])
def test_driver_that_mounts_nothing_from_docker_28_on(tmp_path: Path, bound: str, name: str | None) -> None:
    """There the sandbox shows which one is being started."""
    docker = DockerFiles(tmp_path, "vfs")
    for container, called in ((WEB, "web"), (DATABASE, "db")):
        docker.configure(container, called)
    for sandbox in SANDBOXES:
        docker.bind_sandbox(sandbox, bound=sandbox[0] in bound)
    docker.write_store({}, SANDBOXES)
    docker.start("28.5.2")
    found = Identifier(docker.engine).at_create(create_endpoint(), set())
    assert (found and found.name) == name
    docker.stop()
