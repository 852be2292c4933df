"""`inspect`, `events` and `leases`: one lease, what happened to it, and who has had what."""

import json

import pytest

from tests.cli import samples
from tests.cli.conftest import Host

ANOTHER = samples.endpoint(
    endpoint_id="e" * 64,
    container="db",
    container_id="db00" + "0" * 60,
    hostname="db",
    mac="02:00:00:00:00:02",
    address="192.168.77.5/24",
    ipv6={"address": "fd00::5/128", "lease_state": "bound", "expires": None, "renewed": None, "server": None},
)


@pytest.fixture(autouse=True)
def _two(host: Host) -> None:
    host.plugin.answers["GET /v1/endpoints"] = {"endpoints": [samples.endpoint(), ANOTHER]}


@pytest.mark.parametrize(
    "word",
    [
        "db",
        "192.168.77.5",
        "192.168.77.5/24",
        "fd00::5",
        "FD00::5",
        "02:00:00:00:00:02",
        "02-00-00-00-00-02",
        "eeeeeeee",
        "db00",
    ],
)
def test_named_as_people_do(host: Host, word: str) -> None:
    """By the container's name, each address, and the beginning of either id."""
    result = host.run("inspect", word, "--format", "{{.container}}")
    assert (result.exit_code, result.output) == (0, "db\n")


def test_not_found(host: Host) -> None:
    """The exit status tells, and the message says where to look."""
    result = host.run("inspect", "nobody")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "net-dhcp ps" in result.stderr


def test_messages(host: Host) -> None:
    """The last messages of the endpoint, each with its transaction."""
    message = {"time": samples.event(1, "bound")["time"], "kind": "OFFER", "sent": False, "xid": "0000beef"}
    message |= {"family": "ipv4", "address": "192.168.77.161", "server": "192.168.77.1"}
    detail = {**samples.endpoint(), "messages": [message]}
    host.plugin.answers[f"GET /v1/endpoints/{samples.ENDPOINT_ID}"] = detail
    output = host.run("inspect", "web").output
    assert "received OFFER" in output
    assert "0000beef" in output
    assert "ipv4" in output
    assert json.loads(host.run("inspect", "web", "--format", "json").output)["messages"] == [message]


def test_everything_with_the_time_line(host: Host) -> None:
    """Each field that the API has, and what happened to this endpoint alone."""
    host.plugin.answers["GET /v1/events"] = [samples.event(1, "bound"), samples.event(3, "renewed")]
    output = host.run("inspect", "web").output
    for name in samples.ENDPOINT.keys() - {"ipv6"}:
        assert name.replace("_", " ") in output
    assert "bound it was" in output
    assert "renewed it was" in output
    assert ("GET /v1/events", {"container": "web"}, None) in host.plugin.asked
    found = json.loads(host.run("inspect", "web", "--events", "1", "--format", "json").output)
    assert [event["id"] for event in found["events"]] == [3]


def test_events_filtered(host: Host) -> None:
    """The plugin chooses by container; kind, time and number are the command's."""

    def answer(query: dict[str, str], _: object) -> object:
        kept = [samples.event(1, "bound"), samples.event(2, "nak", container="db"), samples.event(3, "renewed")]
        kept.append(samples.event(4, "renewed"))
        return [event for event in kept if query.get("container") in (None, event["container"])]

    host.plugin.answers["GET /v1/events"] = answer

    def ids(*args: str) -> str:
        return host.run("events", "--format", "{{.id}}", *args).output.replace("\n", " ")

    assert ids() == "1 2 3 4 "
    assert ids("--container", "db") == "2 "
    assert ids("--kind", "renewed") == "3 4 "
    assert ids("-n", "1", "--container", "web") == "4 "
    assert ids("--since", "2026-11-24T12:10:03+00:00") == "3 4 "
    assert host.run("events", "--since", "yesterday").exit_code == 2


def test_events_followed_over_a_restart(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that ends is continued behind its last event, so that nothing is lost or told twice."""
    monkeypatch.setattr("cli.history.AGAIN_SECONDS", 0.0)
    asked: list[dict[str, str]] = []

    def stream(query: dict[str, str], _: object) -> object:
        asked.append(query)
        if len(asked) == 1:
            return [samples.event(7, "bound"), {"Err": "the plugin is stopping"}]
        if len(asked) == 2:
            return [samples.event(8, "renewed")]
        raise KeyboardInterrupt  # never reached by the command: the third question ends it

    host.plugin.answers["GET /v1/events"] = stream
    printed = _interrupted_after(2, host, monkeypatch)
    assert printed == ["7", "8"]
    assert asked[:2] == [{"follow": "true"}, {"follow": "true", "since": "7"}]


def _interrupted_after(count: int, host: Host, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `events -f` prints up to a Ctrl-C that comes with this line."""
    printed: list[str] = []

    def echo(text: str, **_: object) -> None:
        printed.append(text)
        if len(printed) == count:
            raise KeyboardInterrupt

    monkeypatch.setattr("click.echo", echo)
    assert host.run("events", "-f", "--format", "{{.id}}").exit_code == 0
    return printed


@pytest.mark.parametrize(
    ("args", "query"),
    [
        ((), {}),
        (("192.168.77.5",), {"address": "192.168.77.5"}),
        (("fd00::5",), {"address": "fd00::5"}),
        (("02:00:00:00:00:02",), {"mac": "02:00:00:00:00:02"}),
        (("db", "--network", "lan"), {"container": "db", "network": "lan"}),
        (
            ("192.168.77.5", "--at", "2026-11-24T20:00+00:00"),
            {"address": "192.168.77.5", "at": "2026-11-24T20:00:00+00:00"},
        ),
    ],
)
def test_leases(host: Host, args: tuple[str, ...], query: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who had this address on Tuesday? The plugin chooses, by what the word looks like."""
    monkeypatch.setenv("TZ", "UTC")
    lease: dict[str, object] = {
        "endpoint_id": "e" * 64,
        "network_id": "n" * 64,
        "network": "lan",
        "container": "db",
        "family": "ipv4",
    }
    lease |= {"mac": None, "address": "192.168.77.5", "server": None, "begin": "2026-11-24T12:10:20+00:00"}
    host.plugin.answers["GET /v1/leases"] = {"leases": [{**lease, "end": None, "ended_by": None}]}
    result = host.run("leases", *args)
    assert "held" in result.output
    assert host.plugin.asked == [("GET /v1/leases", query, None)]


def test_older_plugin(host: Host) -> None:
    """A plugin that does not know the question is told from a container that is not there."""
    result = host.run("leases")
    assert result.exit_code == 6
    assert "upgrade the plugin" in result.stderr
