"""`pin`: who is mixed up at a boot, the lines that help, and a new connection that keeps the address."""

from typing import Any

from cli.pins.places import Place, places
from tests.cli import samples
from tests.cli.conftest import Host

NETWORKS = [{"Id": samples.NETWORK_ID, "Name": "lan", "Driver": samples.PLUGIN, "Labels": {}}]
PIN = f"POST /v1/endpoints/{samples.ENDPOINT_ID}/pin"


def _compose(name: str, number: int, service: str, **host: object) -> dict[str, Any]:
    made = samples.container(name, number, **host)
    made["Config"]["Labels"] = {
        "com.docker.compose.project": "home",
        "com.docker.compose.service": service,
        "com.docker.compose.project.config_files": "/srv/home/compose.yaml",
    }
    return made


def _serve(host: Host, *containers: dict[str, Any]) -> None:
    """The engine has these, and the plugin says that a boot may mix up all of them."""
    host.engine.answers.update(samples.engine(*containers))
    names = [container["Name"].lstrip("/") for container in containers]
    alike = [
        samples.alike(name, int(container["Id"][:2]), *(other for other in names if other != name))
        for name, container in zip(names, containers, strict=True)
    ]
    host.plugin.answers["GET /v1/checks"] = {"checks": [], "engine": [], "alike": alike}


def test_nothing_to_pin(host: Host) -> None:
    """That is said, and is no error."""
    result = host.run("pin")
    assert result.exit_code == 0
    assert "No container has to be pinned" in result.output


def test_who_is_at_risk(host: Host) -> None:
    """Those that the plugin names, on the networks that it names, with those that it takes them for."""
    a, b, c = (samples.container(name, number) for number, name in enumerate("abc"))
    a["NetworkSettings"]["Networks"]["card"] = {"MacAddress": "02:00:00:00:00:0f", "DriverOpts": None}
    _serve(host, a, b, c)
    card = {"Id": "f" * 64, "Name": "card", "Driver": samples.PLUGIN}
    host.engine.answers["GET /networks"] = [*NETWORKS, card]
    alike = [samples.alike("a", 0, "b", "c"), samples.alike("c", 2, "a", more=True)]
    host.plugin.answers["GET /v1/checks"] = {"checks": [], "engine": [], "alike": alike}
    rows = [line.rstrip().split(maxsplit=3) for line in host.run("pin").output.partition("\n\n")[0].splitlines()[1:]]
    assert rows == [["a", "lan", "02:00:00:00:00:00", "b, c"], ["c", "lan", "02:00:00:00:00:02", "a and more"]]


def test_all_that_are_not_pinned(host: Host) -> None:
    """Also those that are not at risk, but not one whose MAC address was chosen for its network: of a running one only
    the plugin knows that."""
    a, b = samples.container("a", 1), samples.container("b", 2)
    b["NetworkSettings"]["Networks"]["lan"]["EndpointID"] = samples.ENDPOINT_ID
    host.engine.answers.update(samples.engine(a, b))
    assert "No container has to be pinned" in host.run("pin").output
    assert "b " in host.run("pin", "--all").output
    host.plugin.answers["GET /v1/endpoints"] = {"endpoints": [samples.endpoint(container="b", pinned=True)]}
    output = host.run("pin", "--all").output
    assert "a " in output
    assert "b " not in output


def test_nobody_can_tell(host: Host) -> None:
    """A plugin that is too old to be asked, or does not see the containers, is no sign that all is well."""
    host.plugin.answers["GET /v1/checks"] = {"checks": []}
    result = host.run("pin")
    assert (result.exit_code, "older than this command" in result.stderr) == (6, True)
    host.plugin.answers["GET /v1/checks"] = {"checks": [], "engine": [], "alike": None}
    result = host.run("pin")
    assert (result.exit_code, "net-dhcp doctor" in result.stderr) == (1, True)


def test_lines_for_compose(host: Host) -> None:
    """By file, project and service; a MAC address stands beside its network. Nothing is changed."""
    _serve(host, _compose("home-a-1", 1, "a"), _compose("home-b-1", 2, "yes"), samples.container("lonely", 3))
    output = host.run("pin").output
    assert output.partition("made:\n\n")[2] == (
        "# /srv/home/compose.yaml, project home\n"
        "services:\n"
        "  a:\n"
        "    networks:\n"
        "      lan:\n"
        "        mac_address: 02:00:00:00:00:01\n"
        '  "yes":\n'
        "    networks:\n"
        "      lan:\n"
        "        mac_address: 02:00:00:00:00:02\n"
        "\n"
        "# docker run of lonely:\n"
        "  --mac-address 02:00:00:00:00:03\n"
    )
    assert host.engine.questions("POST") == []
    assert host.plugin.questions("POST") == []


def test_lines_of_older_engines(host: Host) -> None:
    """Before API 1.44 a MAC address belongs to the service."""
    _serve(host, _compose("home-a-1", 1, "a"), _compose("home-b-1", 2, "b"))
    host.engine.answers["GET /version"] = {"ApiVersion": "1.41", "MinAPIVersion": "1.12"}
    assert "  a:\n    mac_address: 02:00:00:00:00:01\n" in host.run("pin").output


def test_lines_by_id(host: Host) -> None:
    """The container's name is the id."""
    _serve(host, _compose("home-a-1", 1, "a"), samples.container("b", 2))
    output = host.run("pin", "--by", "id").output
    assert "      lan:\n        driver_opts:\n          id: home-a-1\n" in output
    assert "--network name=lan,driver-opt=id=b" in output


def test_a_service_of_several_containers(host: Host) -> None:
    """They cannot share a line, and that is said in its place."""
    _serve(host, _compose("home-a-1", 1, "a"), _compose("home-a-2", 2, "a"))
    output = host.run("pin").output
    assert "# 2 containers (home-a-1, home-a-2): make a service of each" in output
    assert "mac_address" not in output


def test_hostile_labels_are_inert(host: Host) -> None:
    """A label is a container's own word: neither the terminal nor the YAML takes it for more than text."""
    made = [_compose("a", 1, 'x": {privileged: true}\n#\x1b[2J'), _compose("b", 2, "b")]
    made[1]["NetworkSettings"]["Networks"]["lan"]["MacAddress"] = "02:00\n    privileged: true"
    _serve(host, *made)
    output = host.run("pin").output
    assert '  "x\\": {privileged: true}\\\\n#\\\\x1b[2J":\n' in output
    assert "\x1b" not in output
    assert "\n    privileged" not in output


def test_unknown_name(host: Host) -> None:
    """A typing error pins nothing."""
    result = host.run("pin", "wbe")
    assert result.exit_code == 3
    assert "wbe" in result.stderr


def test_now(host: Host) -> None:
    """After a yes: the plugin keeps the identity under the id, and the container is connected anew with it."""
    host.plugin.answers[PIN] = samples.endpoint()
    result = host.run("pin", "--now", "web", typed="y\n")
    assert result.exit_code == 0, result.output
    assert "without its network for about a second" in result.output
    assert "pinned as id=web; it keeps" in result.output
    assert host.plugin.asked.count((PIN, {}, {"id": "web"})) == 1
    connections = [body for what, _, body in host.engine.asked if what == "POST /networks/lan/connect"]
    assert [body["EndpointConfig"] for body in connections] == [{"DriverOpts": {"id": "web"}}]
    assert host.engine.questions("POST")[0].endswith("/disconnect")


def test_now_keeps_other_choices(host: Host) -> None:
    """Aliases, and on Docker 28 the network's priority for the default route, are connected anew as well."""
    made = samples.container()
    made["NetworkSettings"]["Networks"]["lan"] |= {"Aliases": ["www"], "GwPriority": 7}
    _serve(host, made)
    host.plugin.answers[PIN] = samples.endpoint()
    assert host.run("pin", "--now", "-y", "web").exit_code == 0
    (body,) = [body for what, _, body in host.engine.asked if what == "POST /networks/lan/connect"]
    expected = {"Aliases": ["www"], "GwPriority": 7, "DriverOpts": {"id": "web"}}
    assert {key: body["EndpointConfig"].get(key) for key in expected} == expected


def test_now_asks_before(host: Host) -> None:
    """Without a yes nothing is changed."""
    result = host.run("pin", "--now", "web", typed="n\n")
    assert result.exit_code == 1
    assert host.engine.questions("POST") == []
    assert host.plugin.questions("POST") == []


def test_now_with_an_older_plugin(host: Host) -> None:
    """A plugin that would lose the address is not asked to, and the container stays connected."""
    result = host.run("pin", "--now", "-y", "web")
    assert result.exit_code == 6
    assert "nothing was changed" in result.stderr
    assert host.engine.questions("POST") == []


def test_now_fails_half_way(host: Host) -> None:
    """A container that has lost its network is named, with the command that gives it back."""
    host.plugin.answers[PIN] = samples.endpoint()
    host.engine.answers["POST /networks/lan/connect"] = (500, {"message": "no lease"})
    result = host.run("pin", "--now", "-y", "web")
    assert result.exit_code == 6
    assert "docker network connect --driver-opt id=web lan web" in result.stderr


def test_now_of_a_stopped_one(host: Host) -> None:
    """It has no endpoint to pin: the lines do it."""
    stopped = samples.container("web")
    stopped["State"]["Running"] = False
    stopped["NetworkSettings"]["Networks"]["lan"]["MacAddress"] = ""
    _serve(host, stopped)
    result = host.run("pin", "--now", "-y", "web")
    assert "does not run" in result.output
    assert host.engine.questions("POST") == []


def test_places_are_of_our_networks() -> None:
    """Other networks of a container are nothing to pin."""
    made = samples.container("a", 1)
    made["NetworkSettings"]["Networks"]["front"] = {"MacAddress": "02:42:00:00:00:01"}
    found: list[Place] = places([made], NETWORKS)
    assert [(place.name, place.network) for place in found] == [("a", "lan")]
