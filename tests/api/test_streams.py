"""The history over HTTP: server-sent events, who held an address, and what is refused."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from api import ops
from supervisor.contract.errors import InvalidRequest, Unavailable
from supervisor.contract.messages import (
    Answer,
    Body,
    CheckList,
    EventView,
    GetChecks,
    GetReadiness,
    LeaseView,
    ListEvents,
    ListLeases,
    ListNetworks,
    NetworkView,
    Page,
    Readiness,
)
from tests.api.fakes import FakeClient, http_over
from tests.api.test_ops import HINT

EVENT = EventView(7, 1_700_000_000.25, "e" * 64, "n" * 64, "lan", "web", "no answer", "192.0.2.7/24", "a\n\ndata: b")
LEASE = LeaseView(
    3,
    "e" * 64,
    "n" * 64,
    "lan",
    "c" * 64,
    "web",
    "02:00:00:00:00:01",
    "ipv4",
    "192.0.2.7",
    "192.0.2.2",
    1_700_000_000.25,
    None,
    None,
)
STREAM = {"Accept": "text/event-stream"}


def once(*events: EventView) -> FakeClient:
    """A supervisor that has these events, and then stops."""
    pages = [events]

    def answer(_body: Body) -> Answer:
        if not pages:
            raise Unavailable("the plugin is stopping")
        return Page(pages.pop(), events[-1].id if events else 6, complete=True)

    return FakeClient(answer)


def test_server_sent_events() -> None:
    """Each event is one block with its id and kind, in which nothing from outside can begin another line."""
    client = once(EVENT, replace(EVENT, id=8, kind="recovered"))
    result = http_over(client).simulate_get("/v1/events?since=6", headers=STREAM)
    assert result.headers["content-type"] == "text/event-stream"
    retry, first, second, end = result.text.split("\n\n")
    assert (retry, end) == ("retry: 2000", "")
    assert first.splitlines()[:2] == ["id: 7", "event: no answer"]
    assert first.splitlines()[2].startswith('data: {"id": 7, "time": "2023-11-14T22:13:20.250+00:00"')
    assert len(first.splitlines()) == 3
    assert second.splitlines()[1] == "event: recovered"
    assert client.bodies[0] == ListEvents(6)
    assert client.bodies[1] == ListEvents(8, wait=True)


@pytest.mark.parametrize(
    ("last", "after"), [("41", 41), ("0", 0), ("", None), ("-1", None), ("x", None), ("9" * 40, None), ("٣", None)]
)
def test_last_event_id(last: str, after: int | None) -> None:
    """A browser goes on behind the last event that it has seen; what is no id begins with what comes."""
    client = once()
    http_over(client).simulate_get("/v1/events", headers=STREAM | {"Last-Event-ID": last.encode().decode("latin-1")})
    assert client.bodies[0] == ListEvents(after)


def test_history_that_has_begun_anew() -> None:
    """An id that there is not yet is no error, which a browser would take for the end: it is told to look again."""

    def answer(body: Body) -> Answer:
        assert isinstance(body, ListEvents)
        if body.after == 99:
            raise InvalidRequest("since must be at most 6")
        raise Unavailable("the plugin is stopping")

    client = FakeClient(answer)
    result = http_over(client).simulate_get("/v1/events", headers=STREAM | {"Last-Event-ID": "99"})
    assert result.text == "retry: 2000\n\nevent: reset\ndata: {}\n\n"
    assert [body.after for body in client.bodies if isinstance(body, ListEvents)] == [99, None]


def test_events_of_one_container() -> None:
    """Filters leave out the events of others, whose ids are passed all the same."""
    client = FakeClient(lambda _: Page((EVENT, replace(EVENT, id=8, container="db")), 8, complete=True))
    for parameters in ("container=db", f"container=db&endpoint={'e' * 12}"):
        lines = http_over(client).simulate_get(f"/v1/events?{parameters}").text.splitlines()
        assert ['"id": 8' in line for line in lines] == [True]
    assert http_over(client).simulate_get("/v1/events?endpoint=f").text == ""


def test_who_had_it() -> None:
    """The question for an address at a time reaches the supervisor in its own terms, in every usual spelling."""
    client = FakeClient(lambda _: Page((LEASE,), 3, complete=True))
    path = "/v1/leases?address=192.0.2.7&at=2023-11-14T22:13:20Z&mac=02-00-00-00-00-0A&container=web&network=lan"
    (shown,) = http_over(client).simulate_get(path).json["leases"]
    assert client.bodies == [
        ListLeases("02:00:00:00:00:0a", "192.0.2.7", "web", "lan", 1_700_000_000.0, 1_700_000_000.0)
    ]
    assert list(shown) == list(LeaseView.__struct_fields__)
    assert (shown["begin"], shown["end"]) == ("2023-11-14T22:13:20.250+00:00", None)


def test_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command that fits the plugin comes as it is in the image; a build without it says so."""
    monkeypatch.setattr(ops, "COMMAND", tmp_path / "docker-dhcp")
    http = http_over(FakeClient())
    assert http.simulate_get("/cli").status_code == 404
    (tmp_path / "docker-dhcp").write_bytes(b"#!" + b"z" * 200_000)
    answer = http.simulate_get("/cli")
    assert (answer.content, answer.headers["content-type"]) == (b"#!" + b"z" * 200_000, "application/octet-stream")


def test_pages_of_leases() -> None:
    """An empty page is not the end, which the supervisor says."""
    pages = [Page((), 4000, complete=False), Page((LEASE,), 8000, complete=False), Page((), 9000, complete=True)]
    client = FakeClient(lambda _: pages.pop(0))
    shown = http_over(client).simulate_get("/v1/leases?since=2023-11-14&until=2023-11-14T22:13:20%2B01:00").json
    assert [one["id"] for one in shown["leases"]] == [3]
    assert [body.after for body in client.bodies if isinstance(body, ListLeases)] == [0, 4000, 8000]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/v1/leases?address=192.0.2.7/24", "address must be an IP address, got '192.0.2.7/24'"),
        ("/v1/leases?mac=02:00", "mac must be a MAC address such as 02:00:00:00:00:01, got '02:00'"),
        ("/v1/leases?at=tuesday", "at must be a time such as 2026-11-24T10:00:00Z"),
        ("/v1/leases?at=2026-11-24&until=2026-11-25", "at is one moment"),
        ("/v1/networks?limit=0", "limit must be a whole number from 1"),
        ("/readyz?x=1", "unknown parameter 'x'"),
    ],
)
def test_refused(path: str, text: str) -> None:
    """A malformed question is refused with a text that shows how it is asked."""
    client = FakeClient()
    result = http_over(client).simulate_get(path)
    assert (result.status_code, result.json["Err"].startswith(text)) == (400, True), result.json
    assert client.calls == []


def test_networks_and_checks() -> None:
    """Networks show the options as their user wrote them; the checks of one network are asked for by its name."""
    network = NetworkView("n" * 64, "lan", "bridge", "br0", {"bridge": "br0"}, 2, 1_700_000_000.4)

    def answer(body: Body) -> Answer:
        if isinstance(body, GetChecks):
            return CheckList((HINT,), (), None)
        return Page((network,), network.network_id, complete=True)

    client = FakeClient(answer)
    (shown,) = http_over(client).simulate_get("/v1/networks").json["networks"]
    assert (shown["options"], shown["created"]) == ({"bridge": "br0"}, "2023-11-14T22:13:20+00:00")
    (check,) = http_over(client).simulate_get("/v1/checks?network=lan").json["checks"]
    assert check["id"] == "no-uplink"
    assert client.bodies == [ListNetworks(), GetChecks("lan")]


@pytest.mark.parametrize(("awaits", "status"), [((), 200), (("dockerd",), 503)])
def test_readiness(awaits: tuple[str, ...], status: int) -> None:
    """The status says whether to wait on, and the body what for."""
    client = FakeClient(lambda _: Readiness(not awaits, awaits))
    result = http_over(client).simulate_get("/readyz")
    assert (result.status_code, result.json) == (status, {"ready": not awaits, "awaits": list(awaits)})
    assert client.bodies == [GetReadiness()]
