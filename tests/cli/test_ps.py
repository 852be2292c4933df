"""`ps`: what a person, a script and a hostile container make of it."""

import json

import pytest

from cli import words
from tests.cli import samples
from tests.cli.conftest import Host

ESCAPE = "\x1b]52;c;aGk=\x07\u202e"


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute after the sample's renewal."""
    at = words.time_of("2026-11-24T12:11:20+00:00")
    assert at is not None
    monkeypatch.setattr(words, "now", lambda: at)


def test_table(host: Host) -> None:
    """One line for each container, with what its processes cost together."""
    result = host.run("ps")
    heading, line = result.output.splitlines()
    assert result.exit_code == 0
    assert heading.split()[:4] == ["CONTAINER", "NETWORK", "ADDRESS", "MAC"]
    for word in ("web", "lan", "192.168.77.161/24", samples.MAC, "bound", "1m", "1m ago", "7683", "1.0 s", "0.6 MB"):
        assert word in line


def test_quiet(host: Host) -> None:
    """Only ids, for `xargs`; what costs time is not asked for."""
    result = host.run("ps", "-q", "--network", "lan")
    assert result.output == samples.CONTAINER_ID + "\n"
    assert host.plugin.asked == [("GET /v1/endpoints", {"network": "lan"}, None)]
    assert host.engine.asked == []


def test_json(host: Host) -> None:
    """An object a line, with the API's fields."""
    (line,) = host.run("ps", "--format", "json").output.splitlines()
    row = json.loads(line)
    assert {name: row[name] for name in samples.ENDPOINT} == samples.ENDPOINT
    assert row["pss"] == 600_000


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ("{{.container}} has {{.address}}", "web has 192.168.77.161/24\n"),
        ("{{.LeaseState}}\\t{{.Container}}", "bound\tweb\n"),
        ("{{json .dns}}", '["192.168.77.1"]\n'),
        ("table {{.container}}\\t{{.lease_state}}", "CONTAINER  LEASE STATE\nweb        bound\n"),
    ],
)
def test_template(host: Host, template: str, printed: str) -> None:
    """By the API's names or as Go would write them."""
    assert host.run("ps", "--format", template).output == printed


@pytest.mark.parametrize("template", ["{{.nothing}}", "{{range .dns}}", "{{container}}"])
def test_template_refused(host: Host, template: str) -> None:
    """A field that is not there, and what only Go can do, are errors of the command line."""
    result = host.run("ps", "--format", template)
    assert result.exit_code == 2
    assert "--format" in result.stderr


@pytest.mark.parametrize("form", ["table", "json", "{{.container}}", "table {{.container}}"])
def test_hostile_names_are_inert(host: Host, form: str) -> None:
    """No form lets a control sequence, or a mark that turns text around, through to the terminal."""
    hostile = samples.endpoint(container=f"web{ESCAPE}", hostname=ESCAPE, domain=ESCAPE, network=f"[red]{ESCAPE}")
    host.plugin.answers["GET /v1/endpoints"] = {"endpoints": [hostile]}
    output = host.run("ps", "--format", form).output
    assert "web" in output
    assert all(character.isprintable() or character == "\n" for character in output)


def test_without_lease(host: Host) -> None:
    """A container that is being started has nothing yet; the host's own endpoint has no container."""
    nothing = dict.fromkeys(("address", "server", "lease_state", "obtained", "renewed", "expires", "worker_pid"))
    starting = samples.endpoint(**nothing, phase="creating")
    own = samples.endpoint(endpoint_id=samples.NETWORK_ID, container=None, container_id=None)
    host.plugin.answers["GET /v1/endpoints"] = {"endpoints": [starting, own]}
    output = host.run("ps").output
    assert "creating" in output
    assert "(host)" in output


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (45, "45s"), (90, "1m 30s"), (3600, "1h"), (7500, "2h 5m"), (273600, "3d 4h")]
)
def test_durations(seconds: float, text: str) -> None:
    """Two units are enough for a person."""
    assert words.duration(seconds) == text


def test_watched(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """One table after the other where there is no terminal; a plugin that is away meanwhile ends nothing."""
    looks = 0

    def answer(_query: object, _body: object) -> object:
        nonlocal looks
        looks += 1
        if looks == 2:
            host.plugin.path.rename(host.plugin.path.with_name("away"))
        return {"endpoints": [samples.endpoint(container=f"look{looks}")]}

    def pause(_: float) -> None:
        if looks >= 3:
            raise KeyboardInterrupt
        away = host.plugin.path.with_name("away")
        if looks == 2 and away.exists() and host.plugin.asked[-1][0] != "away":
            host.plugin.asked.append(("away", {}, None))  # one look finds nobody
        elif away.exists():
            away.rename(host.plugin.path)

    host.plugin.answers["GET /v1/endpoints"] = answer
    monkeypatch.setattr("cli.output.time.sleep", pause)
    result = host.run("ps", "-w", "-q", "--interval", "1")
    assert result.exit_code == 0
    assert result.stdout == 3 * (samples.CONTAINER_ID + "\n")
    assert result.stderr.count("no answer from the plugin") == 1
