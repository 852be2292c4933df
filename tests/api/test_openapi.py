"""The description of the ops surface: complete, and true of answers as the API makes them."""

from collections.abc import Callable

import pytest
from falcon.testing import TestClient
from jsonschema import Draft202012Validator, FormatChecker

from api import actions, ops
from api.openapi import document
from api.tcp_app import create_tcp_app
from supervisor.contract.messages import (
    AlikeView,
    Answer,
    Body,
    CheckList,
    EngineHintView,
    GetChecks,
    GetEndpoint,
    GetReadiness,
    ListEndpoints,
    ListEvents,
    ListLeases,
    ListNetworks,
    ListWorkers,
    NetworkView,
    Page,
    Readiness,
    WorkerList,
)
from tests.api import test_actions
from tests.api.fakes import FakeClient, http_over
from tests.api.test_ops import DETAIL, ENDPOINT, GONE, HEALTH, HINT, WORKER
from tests.api.test_streams import EVENT, LEASE

ENGINE_HINT = EngineHintView("storage-driver", "warning", "it does not show who starts", "net-dhcp pin --all")
ALIKE = AlikeView("n" * 64, "lan", "c" * 64, "web", ("db",), False)
NETWORK = NetworkView("n" * 64, None, "bridge", "br0", {"bridge": "br0"}, 2, None)
ANSWERS: dict[type, Answer] = {
    ListEndpoints: Page((ENDPOINT,), ENDPOINT.endpoint_id, complete=True),
    ListEvents: Page((EVENT,), 7, complete=True),
    ListLeases: Page((LEASE,), 3, complete=True),
    ListNetworks: Page((NETWORK,), NETWORK.network_id, complete=True),
    ListWorkers: WorkerList((WORKER, GONE)),
    GetChecks: CheckList((HINT,), (ENGINE_HINT,), (ALIKE,)),
    GetEndpoint: DETAIL,
    GetReadiness: Readiness(False, ("dockerd",)),
}


def answer(body: Body) -> Answer:
    """As the supervisor does."""
    return ANSWERS.get(type(body), HEALTH)


def judge(path: str, method: str, status: int, content_type: str) -> Callable[[object], None]:
    """What tells whether the body of such an answer is as the description says; raises ValidationError."""
    described = document(with_changes=True)
    responses = described["paths"][path][method]["responses"]  # type: ignore[index]
    content = responses.get(str(status), responses["default"])["content"]
    schema = content[content_type.partition(";")[0]]["schema"]
    return Draft202012Validator(
        {"components": described["components"], **schema}, format_checker=FormatChecker()
    ).validate


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/v1/checks", "/v1/endpoints", "/v1/endpoints/web", "/v1/networks", "/v1/workers"]
)
def test_answers(path: str) -> None:
    """Each answer has exactly the fields that are described, of the types that are described."""
    result = http_over(FakeClient(answer)).simulate_get(path)
    described = path.replace("/web", "/{name}")
    judge(described, "get", result.status_code, result.headers["content-type"])(result.json)
    refused = http_over(FakeClient(answer)).simulate_get(path, params={"x": "y"})
    judge(described, "get", refused.status_code, refused.headers["content-type"])(refused.json)


@pytest.mark.parametrize("path", ["/v1/events", "/v1/leases"])
def test_history(path: str) -> None:
    """So do a line of the events and the rows of the leases."""
    result = http_over(FakeClient(answer)).simulate_get(path, params={"limit": "1"})
    judge(path, "get", 200, result.headers["content-type"])(result.json)


@pytest.mark.parametrize(("path", "method"), [(path, action.method) for path, action in actions.PATHS.items()])
def test_changes(path: str, method: str) -> None:
    """So do the answers to what changes something."""
    body = {"id": "db"} if path.endswith("/pin") else {"level": "WARNING"} if path.endswith("/loglevel") else {}
    client = FakeClient(test_actions.answer)
    result = http_over(client).simulate_request(method, path.replace("{name}", "web"), json=body)
    judge(path, method.lower(), result.status_code, result.headers["content-type"])(result.json)


def test_paths() -> None:
    """Every path is described where it is served, with every parameter, and no other one is."""
    of_socket = http_over(FakeClient(answer)).simulate_get("/openapi.json").json
    over_tcp = TestClient(create_tcp_app(FakeClient(answer), "", "nas")).simulate_get(
        "/openapi.json", headers={"Host": "localhost"}
    )
    questions = {*ops.PATHS, "/openapi.json"}
    assert set(over_tcp.json["paths"]) == questions
    assert all(set(methods) == {"get"} for methods in over_tcp.json["paths"].values())
    assert set(of_socket["paths"]) == questions | actions.PATHS.keys()
    for path, how in ops.PATHS.items():
        named = [one["name"] for one in of_socket["paths"][path]["get"]["parameters"]]
        assert [name for name in named if name != "name"] == list(how.parameters)
    Draft202012Validator.check_schema(of_socket["components"]["schemas"]["Health"])
