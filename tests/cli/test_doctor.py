"""`doctor`: the cause of each prepared fault, what mends it, and an exit status that tells."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli import samples
from tests.cli.conftest import Host

PROBE = "POST /v1/networks/lan/probe"
CHECK = {
    "network": "lan",
    "parent": "br-lan",
    "id": "firewall-ip",
    "severity": "error",
    "found": "the packet filter drops DHCP between the ports of br-lan",
    "remedy": "iptables -I DOCKER-USER -i br-lan -o br-lan -j ACCEPT",
}
MIXED_UP = {"id": "not-told-apart", "severity": "warning", "remedy": "net-dhcp pin"}
STORAGE_DRIVER = {
    "id": "storage-driver",
    "severity": "warning",
    "found": "the storage driver vfs does not show which container is being started",
    "remedy": "net-dhcp pin --all",
}
Break = Callable[[Host], object]


def test_all_is_well(host: Host) -> None:
    """Every part was looked at, and nothing is left to do."""
    result = host.run("doctor")
    assert result.exit_code == 0, result.output
    assert all(line.startswith("ok ") for line in result.output.splitlines())
    assert "192.168.77.1 offers leases" in result.output
    assert host.run("doctor", "--quiet").output == ""


def _answer(key: str, **changes: object) -> Break:
    return lambda host: host.plugin.answers.__setitem__(key, {**samples.plugin()[key], **changes})


def _engine(key: str, answer: object) -> Break:
    return lambda host: host.engine.answers.__setitem__(key, answer)


def _disabled(host: Host) -> None:
    host.plugin.path.unlink()
    host.engine.answers["GET /plugins"] = [samples.installed(samples.PLUGIN_ID, samples.PLUGIN, enabled=False)]


def _missing(host: Host) -> None:
    host.plugin.path.unlink()
    host.engine.answers["GET /plugins"] = []


def _did_not_start(host: Host) -> None:
    made = samples.container("web")
    made["State"] = {"Running": False, "Error": "failed: NetworkDriver.CreateEndpoint: no DHCP server answered"}
    host.engine.answers.update(samples.engine(made))


def _lease(state: str) -> Break:
    ended = samples.endpoint(lease_state=state, last_trouble="no server answers")
    return _answer("GET /v1/endpoints", endpoints=[ended])


INFO = samples.engine()["GET /info"]
ANOTHER = {"Id": "f" * 64, "Name": "lost", "Driver": samples.PLUGIN}


@pytest.mark.parametrize(
    ("break_it", "id_", "severity", "remedy"),
    [
        (lambda host: host.engine.path.unlink(), "engine-silent", "error", "systemctl start docker"),
        (_missing, "plugin-missing", "error", "docker plugin install"),
        (_disabled, "plugin-disabled", "error", "docker plugin enable net-dhcp:latest"),
        (
            lambda host: host.plugin.answers.__setitem__("GET /healthz", (500, {"Err": "x"})),
            "plugin-silent",
            "error",
            "-f",
        ),
        (_answer("GET /healthz", healthy=False, problems=["web's worker died"]), "problem", "error", "operations.md"),
        (_answer("GET /healthz", engine_connected=False), "plugin-alone", "warning", "journalctl"),
        (_answer("GET /v1/checks", checks=[CHECK]), "firewall-ip", "error", "iptables -I DOCKER-USER"),
        (
            _answer("GET /v1/checks", checks=[{**CHECK, **MIXED_UP}]),
            "not-told-apart",
            "warning",
            "net-dhcp pin",
        ),
        (_answer(PROBE, error="no DHCP server answered", server=None), "no-offer", "error", "log"),
        (
            _engine("GET /networks", [*samples.engine()["GET /networks"], ANOTHER]),
            "network-lost",
            "error",
            "network rm lost",
        ),
        (_answer("GET /v1/checks", engine=[STORAGE_DRIVER]), "storage-driver", "warning", "net-dhcp pin --all"),
        (_engine("GET /info", {**INFO, "SecurityOptions": ["name=rootless"]}), "rootless", "error", "as root"),
        (_engine("GET /info", {**INFO, "ServerVersion": "19.03.1"}), "engine-old", "error", "upgrade"),
        (_did_not_start, "not-started", "error", "docker start web"),
        (_lease("rebinding"), "lease", "warning", "net-dhcp inspect web"),
        (_lease("expired"), "lease", "error", "net-dhcp inspect web"),
    ],
)
def test_names_the_cause(host: Host, break_it: Break, id_: str, severity: str, remedy: str) -> None:
    """Of each fault on a host: one finding with the command that mends it. The exit status tells how bad it is."""
    break_it(host)
    result = host.run("doctor", "--format", "json")
    found: list[dict[str, Any]] = [json.loads(line) for line in result.output.splitlines()]
    (cause,) = [finding for finding in found if finding["id"] == id_]
    assert cause["severity"] == severity
    assert remedy in cause["remedy"]
    worst = {finding["severity"] for finding in found}
    assert result.exit_code == (1 if "error" in worst else 7)
    if severity == "warning":
        assert worst <= {"ok", "hint", "warning"}


def test_without_a_probe(host: Host) -> None:
    """The LAN is not asked then."""
    assert host.run("doctor", "--no-probe").exit_code == 0
    assert host.plugin.questions("POST") == []


def test_one_network(host: Host) -> None:
    """Others are left out."""
    networks = [{"network_id": n * 64, "network": name} for n, name in (("1", "lan"), ("2", "card"))]
    host.plugin.answers["GET /v1/networks"] = {"networks": networks}
    output = host.run("doctor", "lan").output
    assert "lan: " in output
    assert "card: " not in output


def test_older_plugin(host: Host) -> None:
    """What it cannot be asked for is said, and the rest is looked at."""
    del host.plugin.answers["GET /v1/checks"]
    result = host.run("doctor", "--format", "{{.id}}: {{.found}}")
    assert "networks: the plugin does not know GET /v1/checks" in result.output
    assert result.exit_code == 1


def test_hostile_words_are_inert(host: Host) -> None:
    """What a check found may quote the LAN."""
    host.plugin.answers["GET /v1/checks"] = {"checks": [{**CHECK, "found": "\x1b[2J\u202e", "severity": "new"}]}
    output = host.run("doctor").output
    assert "\\x1b[2J\\u202e" in output
    assert "\x1b" not in output
