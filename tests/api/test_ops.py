"""The ops surface: what operators see."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

import pytest

from supervisor.contract.errors import Unavailable
from supervisor.contract.messages import (
    Answer,
    Body,
    Cost,
    EndpointList,
    EndpointView,
    GetHealth,
    Health,
    ListEndpoints,
    ListWorkers,
    WorkerList,
    WorkerView,
)
from tests.api.fakes import FakeClient, http_over

HEALTH = Health(True, (), "f00d", 12.5, 1, 2, engine_connected=True)

ENDPOINT = EndpointView(
    endpoint_id="e" * 64,
    network_id="n" * 64,
    network="lan",
    bridge="br0",
    container_id=None,
    container="web",
    hostname="web",
    phase="JOINED",
    interface="eth0",
    host_link="dh-eeeeeeeeeeee",
    mac="02:00:00:00:00:01",
    address=IPv4Interface("192.0.2.7/24"),
    gateway=IPv4Address("192.0.2.1"),
    server=IPv4Address("192.0.2.2"),
    lease_state="BOUND",
    lease_seconds=120,
    obtained=1_700_000_000.4,
    renewed=None,
    expires=1_700_000_120.4,
    last_trouble=None,
    worker_pid=42,
    udhcpc_pid=43,
)

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
    client = FakeClient(lambda _body: EndpointList((ENDPOINT,)))
    result = http_over(client).simulate_get("/v1/endpoints")
    assert client.bodies == [ListEndpoints()]
    assert result.status_code == 200
    (endpoint,) = result.json["endpoints"]
    assert list(endpoint) == list(EndpointView.__slots__)
    expected = {
        "container": "web",
        "container_id": None,
        "address": "192.0.2.7/24",
        "gateway": "192.0.2.1",
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


@pytest.mark.parametrize("path", ["/v1/endpoints", "/v1/workers"])
def test_empty_lists(path: str) -> None:
    """A fresh plugin has lists too, not nulls."""
    answer: Answer = EndpointList(()) if path == "/v1/endpoints" else WorkerList(())
    assert list(http_over(FakeClient(lambda _body: answer)).simulate_get(path).json.values()) == [[]]
