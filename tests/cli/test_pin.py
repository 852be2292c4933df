"""`pin`: who is mixed up at a boot, the lines that help, and a new connection that keeps the address."""

from typing import Any

import pytest

from cli.pins.places import Place, mixed_up, places
from tests.cli import samples
from tests.cli.conftest import Host

NETWORKS = [{"Id": samples.NETWORK_ID, "Name": "lan", "Driver": samples.PLUGIN, "Labels": {}}]
OFF = {"RestartPolicy": {"Name": "no"}}
PIN = f"POST /v1/endpoints/{samples.ENDPOINT_ID}/pin"


def _compose(name: str, number: int, service: str, **host: object) -> dict[str, Any]:
    made = samples.container(name, number, **host)
    made["Config"]["Labels"] = {
        "com.docker.compose.project": "home",
        "com.docker.compose.service": service,
        "com.docker.compose.project.config_files": "/srv/home/compose.yaml",
    }
    return made


def _with_id(made: dict[str, Any]) -> dict[str, Any]:
    made["NetworkSettings"]["Networks"]["lan"]["DriverOpts"] = {"id": "mine"}
    return made


def _with_mac(made: dict[str, Any]) -> dict[str, Any]:
    made["Config"]["MacAddress"] = "02:00:00:00:00:09"
    return made


def _stopped_with_mac(made: dict[str, Any]) -> dict[str, Any]:
    made["State"]["Running"] = False
    return made


def _with_port(made: dict[str, Any]) -> dict[str, Any]:
    made["Config"]["ExposedPorts"] = {"80/tcp": {}}
    return made


def _on_two(made: dict[str, Any]) -> dict[str, Any]:
    made["HostConfig"]["NetworkMode"] = "front"
    return made


def _at_risk(*containers: dict[str, Any], driver: str = "overlay2") -> dict[str, list[str]]:
    return {place.name: like for place, like in mixed_up(places(containers, NETWORKS), driver).items()}


A, B = samples.container("a", 1), samples.container("b", 2)


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (B, {"a", "b"}),
        (_with_id(samples.container("b", 2)), set()),
        (_with_mac(samples.container("b", 2)), set()),
        (_stopped_with_mac(samples.container("b", 2)), set()),
        (samples.container("b", 2, **OFF), set()),
        (samples.container("b", 2, Dns=["192.0.2.1"]), {"b"}),
        (_with_port(samples.container("b", 2)), set()),
        (_on_two(_with_port(samples.container("b", 2))), {"b"}),
    ],
    ids=["alike", "id", "mac", "stopped-mac", "no-restart", "dns", "ports", "second-network"],
)
def test_who_is_mixed_up(other: dict[str, Any], names: set[str]) -> None:
    """As the plugin decides: chosen identities, ports and name servers tell, and only who restarts can be mixed up."""
    assert _at_risk(A, other).keys() == names


def test_storage_driver_that_tells_nothing() -> None:
    """There also a container that is just stopped may be meant."""
    assert _at_risk(A, samples.container("b", 2, **OFF), driver="vfs") == {"a": ["b"]}


def test_alone() -> None:
    """One container on a network is known, whatever it looks like."""
    assert _at_risk(A) == {}


def _serve(host: Host, *containers: dict[str, Any]) -> None:
    host.engine.answers.update(samples.engine(*containers))


def test_nothing_to_pin(host: Host) -> None:
    """That is said, and is no error."""
    result = host.run("pin")
    assert result.exit_code == 0
    assert "No container has to be pinned" in result.output


def test_mac_address_of_a_network(host: Host) -> None:
    """A running container whose MAC address was chosen for its network, which only the plugin knows, is pinned, as the
    hints of the plugin have it."""
    a, b = samples.container("a", 1), samples.container("b", 2)
    b["NetworkSettings"]["Networks"]["lan"]["EndpointID"] = samples.ENDPOINT_ID
    _serve(host, a, b)
    assert "MAY BE TAKEN FOR" in host.run("pin").output
    host.plugin.answers["GET /v1/endpoints"] = {"endpoints": [samples.endpoint(container="b", pinned=True)]}
    assert "No container has to be pinned" in host.run("pin").output
    assert "b " not in host.run("pin", "--all").output


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
