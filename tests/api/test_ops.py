"""The ops surface: what operators ask and see."""

import json
from functools import partial
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest
from falcon.testing import Result, create_environ
from msgspec.structs import replace

from api import ops
from supervisor.contract.client import CALL_DEADLINE_SECONDS, DEADLINE_SECONDS
from supervisor.contract.errors import NotFound, Unavailable
from supervisor.contract.messages import (
    Answer,
    Body,
    Cost,
    EndpointDetail,
    EndpointView,
    EventView,
    GetEndpoint,
    GetHealth,
    Health,
    HintView,
    ListEndpoints,
    ListEvents,
    ListWorkers,
    MessageView,
    NetworkProbed,
    Page,
    ProbeNetwork,
    WorkerList,
    WorkerView,
)
from tests.api.fakes import FakeClient, http_over

HEALED = ("network lan was lost and learnt from the engine",)
HINT = HintView("lan", "br0", "no-uplink", "warning", "br0 has no uplink", "make the card a port of it")
HEALTH = Health(True, (), "f00d", 12.5, 1, 2, engine_connected=True, hints=(HINT,), healed=HEALED)

MESSAGE = MessageView(1_700_000_000.4, "ipv4", "ACK", False, "0000002a", IPv4Address("192.0.2.7"), "192.0.2.2")
ENDPOINT = EndpointView(
    endpoint_id="e" * 64,
    network_id="n" * 64,
    network="lan",
    mode="bridge",
    parent="br0",
    container_id=None,
    container="web",
    hostname="web",
    phase="JOINED",
    interface="eth0",
    host_link="dh-eeeeeeeeeeee",
    mac="02:00:00:00:00:01",
    pinned=False,
    address=IPv4Interface("192.0.2.7/24"),
    gateway=IPv4Address("192.0.2.1"),
    dns=(IPv4Address("192.0.2.3"), IPv4Address("192.0.2.4")),
    domain="lan",
    ntp=(),
    server=IPv4Address("192.0.2.2"),
    lease_state="BOUND",
    lease_seconds=120,
    obtained=1_700_000_000.4,
    renewed=None,
    expires=1_700_000_120.4,
    last_trouble=None,
    ipv6=None,
    worker_pid=42,
    udhcpc_pid=43,
)

DETAIL = EndpointDetail(**{name: getattr(ENDPOINT, name) for name in ENDPOINT.__struct_fields__}, messages=(MESSAGE,))

WORKER = WorkerView("api", "api", "RUNNING", 7, None, 0, 1_700_000_000.0, Cost(0.25, 30_000_000, 20_000_000, 12, 4))

GONE = WorkerView("watcher", "watcher", "BACKOFF", None, None, 3, None, None)


def test_healthy() -> None:
    """A health check sees 200, and a person the whole picture."""
    client = FakeClient(lambda _body: HEALTH)
    result = http_over(client).simulate_get("/healthz")
    assert client.bodies == [GetHealth()]
    assert (result.status_code, result.json) == (
        200,
        {
            "healthy": True,
            "problems": [],
            "instance": "f00d",
            "uptime": 12.5,
            "networks": 1,
            "endpoints": 2,
            "engine_connected": True,
            "hints": [
                {
                    "network": "lan",
                    "parent": "br0",
                    "id": "no-uplink",
                    "severity": "warning",
                    "found": "br0 has no uplink",
                    "remedy": "make the card a port of it",
                }
            ],
            "healed": list(HEALED),
            "version": "",
        },
    )


def test_not_healthy() -> None:
    """A health check sees 503, and a person why."""
    sick = replace(HEALTH, healthy=False, problems=("the watcher is in FATAL",))
    result = http_over(FakeClient(lambda _body: sick)).simulate_get("/healthz")
    assert (result.status_code, result.json["problems"]) == (503, ["the watcher is in FATAL"])


def test_without_supervisor() -> None:
    """A health check sees 503 also when there is nobody to ask."""

    def gone(_body: Body) -> Answer:
        raise Unavailable("the plugin's supervisor is gone")

    result = http_over(FakeClient(gone)).simulate_get("/healthz")
    assert (result.status_code, result.json) == (503, {"Err": "the plugin's supervisor is gone"})


def test_endpoints() -> None:
    """Addresses are strings, times are ISO 8601 in UTC, what is not known is null."""
    client = FakeClient(lambda _body: LISTED)
    result = http_over(client).simulate_get("/v1/endpoints")
    assert client.bodies == [ListEndpoints()]
    assert result.status_code == 200
    (endpoint,) = result.json["endpoints"]
    assert list(endpoint) == list(EndpointView.__struct_fields__)
    expected = {
        "container": "web",
        "container_id": None,
        "address": "192.0.2.7/24",
        "gateway": "192.0.2.1",
        "dns": ["192.0.2.3", "192.0.2.4"],
        "domain": "lan",
        "ntp": [],
        "server": "192.0.2.2",
        "lease_seconds": 120,
        "obtained": "2023-11-14T22:13:20+00:00",
        "renewed": None,
        "expires": "2023-11-14T22:15:20+00:00",
        "worker_pid": 42,
    }
    assert {key: endpoint[key] for key in expected} == expected


def test_workers() -> None:
    """Costs are numbers, the start is a time; a process that is not there has neither."""
    client = FakeClient(lambda _body: WorkerList((WORKER, GONE)))
    result = http_over(client).simulate_get("/v1/workers")
    assert client.bodies == [ListWorkers()]
    assert result.json == {
        "workers": [
            {
                "name": "api",
                "role": "api",
                "state": "RUNNING",
                "pid": 7,
                "endpoint_id": None,
                "restarts": 0,
                "started": "2023-11-14T22:13:20+00:00",
                "cost": {"cpu": 0.25, "rss": 30_000_000, "pss": 20_000_000, "descriptors": 12, "threads": 4},
            },
            {
                "name": "watcher",
                "role": "watcher",
                "state": "BACKOFF",
                "pid": None,
                "endpoint_id": None,
                "restarts": 3,
                "started": None,
                "cost": None,
            },
        ]
    }


EVENT = EventView(7, 1_700_000_000.25, "e" * 64, "n" * 64, "lan", "web", "nak", "192.0.2.7/24", "refused")


def endpoint(number: int) -> EndpointView:
    """One of many."""
    return replace(ENDPOINT, endpoint_id=f"{number:04d}")


LISTED = Page((ENDPOINT,), ENDPOINT.endpoint_id, complete=True)


def event(number: int) -> EventView:
    """One of many."""
    return replace(EVENT, id=number)


class Many:
    """A supervisor with so many endpoints and events; it gives what it is asked for in pages."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, body: Body) -> Answer:
        """The page."""
        if isinstance(body, ListEndpoints):
            first = int(body.after or "0") + 1
            rows = tuple(map(endpoint, range(first, min(first + body.limit, self.number + 1))))
            return Page(rows, rows[-1].endpoint_id if rows else body.after, complete=len(rows) < body.limit)
        assert isinstance(body, ListEvents)
        first = (self.number if body.after is None else body.after) + 1
        numbers = range(first, min(first + body.limit, self.number + 1))
        last = numbers[-1] if numbers else first - 1
        return Page(tuple(map(event, numbers)), last, complete=len(numbers) < body.limit)


@pytest.mark.parametrize(
    ("number", "parameters", "expected"),
    [
        (0, "", range(0)),
        (1, "", range(1, 2)),
        (450, "", range(1, 451)),
        (400, "", range(1, 401)),
        (450, "?limit=201", range(1, 202)),
        (450, "?after=0448", range(449, 451)),
    ],
)
def test_lists_of_any_length(number: int, parameters: str, expected: range) -> None:
    """A list is complete however many pages it comes in, and ends at its limit; an empty one is no null."""
    result = http_over(FakeClient(Many(number))).simulate_get(f"/v1/endpoints{parameters}")
    assert [int(view["endpoint_id"]) for view in result.json["endpoints"]] == list(expected)


def test_no_workers() -> None:
    """A fresh plugin has an empty list, no null."""
    assert http_over(FakeClient(lambda _body: WorkerList(()))).simulate_get("/v1/workers").json == {"workers": []}


def test_filters() -> None:
    """Each parameter is a filter of the question."""
    client = FakeClient(lambda _body: Page((), "", complete=True))
    path = "/v1/endpoints?network=lan&container=my%20web&phase=joined&lease_state=bound&after=e1&limit=7"
    http_over(client).simulate_get(path)
    assert client.bodies == [ListEndpoints("lan", "my web", "joined", "bound", "e1", 7)]


def test_one_endpoint() -> None:
    """It has the fields that it has in the list, and messages; a name is taken as it is; an unknown one is 404."""

    def find(body: Body) -> Answer:
        if body != GetEndpoint("my web"):
            raise NotFound("no such endpoint")
        return DETAIL

    http = http_over(FakeClient(find))
    (listed,) = http_over(FakeClient(lambda _: LISTED)).simulate_get("/v1/endpoints").json.values()
    message = {"time": "2023-11-14T22:13:20.400+00:00", "kind": "ACK", "sent": False, "xid": "0000002a"}
    message |= {"family": "ipv4", "address": "192.0.2.7", "server": "192.0.2.2"}
    assert http.simulate_get("/v1/endpoints/my%20web").json == {**listed[0], "messages": [message]}
    assert http.simulate_get("/v1/endpoints/web").status_code == 404


def lines(result: Result) -> list[dict[str, object]]:
    """Of a stream."""
    assert result.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in result.text.splitlines()]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [("", range(1, 451)), ("?since=448", range(449, 451)), ("?since=450", range(0)), ("?limit=3", range(1, 4))],
)
def test_history(parameters: str, expected: range) -> None:
    """One JSON object a line, from any event to the newest."""
    events = lines(http_over(FakeClient(Many(450))).simulate_get(f"/v1/events{parameters}"))
    assert [event["id"] for event in events] == list(expected)
    assert all(list(event) == list(EventView.__struct_fields__) for event in events)
    assert all(event["time"] == "2023-11-14T22:13:20.250+00:00" for event in events)


@pytest.mark.parametrize(
    ("parameters", "first", "expected"), [("", ListEvents(None, 2), [4, 5]), ("&since=2", ListEvents(2, 2), [3, 4])]
)
def test_events_that_come(parameters: str, first: ListEvents, expected: list[int]) -> None:
    """A stream begins after the event that is named, or after the newest, and waits for the next ones."""
    many = Many(3)

    def happening(body: Body) -> Answer:
        answer = many(body)
        many.number += 1
        return answer

    client = FakeClient(happening)
    events = lines(http_over(client).simulate_get(f"/v1/events?follow=true&limit=2{parameters}"))
    assert [event["id"] for event in events] == expected
    assert client.bodies[0] == first
    assert all(isinstance(body, ListEvents) and body.wait for body in client.bodies[1:])
    assert all(deadline > DEADLINE_SECONDS for _, deadline in client.calls)


def test_a_stream_that_fails() -> None:
    """Before its first line the failure is the status; later it is the last line, after what had come."""

    def failing(after: int, body: Body) -> Answer:
        assert isinstance(body, ListEvents)
        if body.after == after:
            raise Unavailable("the plugin is stopping")
        return Page((event(1),), 1, complete=True)

    result = http_over(FakeClient(partial(failing, 0))).simulate_get("/v1/events?follow=1&since=0")
    assert (result.status_code, result.json) == (503, {"Err": "the plugin is stopping"})
    shown = lines(http_over(FakeClient(partial(failing, 1))).simulate_get("/v1/events?follow=1&since=0"))
    assert [line.get("id") for line in shown] == [1, None]
    assert shown[-1] == {"Err": "the plugin is stopping"}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/v1/endpoints?nework=lan", "unknown parameter 'nework'; known are network, "),
        ("/v1/endpoints?network=", "network must be a non-empty string of printable characters"),
        ("/v1/endpoints?network=a%00b", "network must be a non-empty string of printable characters"),
        ("/v1/endpoints?container=a&container=b", "container must be given once"),
        ("/v1/endpoints?limit=0", "limit must be a whole number from 1, got '0'"),
        ("/v1/endpoints?limit=-1", "limit must be a whole number"),
        ("/v1/endpoints?limit=ten", "limit must be a whole number"),
        ("/v1/endpoints?limit=%D9%A3", "limit must be a whole number"),
        ("/v1/endpoints?limit=1" + "0" * 5000, "limit must be a whole number"),
        ("/v1/endpoints/web?limit=1", "unknown parameter 'limit'; there are none here"),
        ("/v1/workers?x", "unknown parameter 'x'; there are none here"),
        ("/v1/events?since=x", "since must be a whole number from 0, got 'x'"),
        ("/v1/events?follow=yes", "follow must be true or false, got 'yes'"),
    ],
)
def test_malformed_parameters(path: str, text: str) -> None:
    """Each is refused with a short text that names it, and nothing reaches the supervisor."""
    client = FakeClient()
    result = http_over(client).simulate_get(path)
    assert (result.status_code, list(result.json)) == (400, ["Err"])
    assert result.json["Err"].startswith(text)
    assert len(result.json["Err"]) < 200
    assert client.calls == []


@pytest.mark.parametrize("path", ["/v1/endpoints", "/v1/events", "/v1/workers"])
def test_as_many_as_may_be(path: str) -> None:
    """So many answers are under way and no more; each end makes room, also an end before anything was sent."""

    refusals = [NotFound("no")] * 20

    def answer(body: Body) -> Answer:
        if refusals:
            raise refusals.pop()
        return WorkerList(()) if isinstance(body, ListWorkers) else Many(1)(body)

    http = http_over(FakeClient(answer))
    assert {http.simulate_get(path).status_code for _ in range(20)} == {404}
    limit = ops.PATHS[path].at_once
    assert limit
    ignore: Any = lambda *_: None  # noqa: E731
    begun: list[Any] = [http.app(create_environ(path), ignore) for _ in range(limit)]
    result = http.simulate_get(path)
    assert (result.status_code, result.json["Err"].split(" are ")[0]) == (503, f"{limit} answers of {path}")
    next(iter(begun[0]))
    for body in begun[:2]:
        body.close()
    assert [http.simulate_get(path).status_code for _ in range(3)] == [200] * 3


def test_probe() -> None:
    """A LAN is asked by POST, with the engine's patience; that no server has answered is an answer."""
    probed = NetworkProbed("n" * 64, "lan", "br0", "ipv4", None, "no DHCPOFFER on br0 in 10 s")
    client = FakeClient(lambda _body: probed)
    result = http_over(client).simulate_post("/v1/networks/lan/probe")
    assert client.calls == [(ProbeNetwork("lan"), CALL_DEADLINE_SECONDS)]
    assert (result.status_code, result.json) == (
        200,
        {
            "network_id": "n" * 64,
            "network": "lan",
            "parent": "br0",
            "family": "ipv4",
            "server": None,
            "error": "no DHCPOFFER on br0 in 10 s",
        },
    )
    assert http_over(client).simulate_get("/v1/networks/lan/probe").status_code == 405
