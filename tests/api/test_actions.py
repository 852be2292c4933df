"""What operators change: bodies and paths, and what of it reaches the supervisor."""

import json
import logging

import pytest

from supervisor.contract.errors import Conflict
from supervisor.contract.messages import (
    Answer,
    BindingView,
    Body,
    Done,
    ForgetBinding,
    Forgotten,
    PinEndpoint,
    ReleaseLease,
    RenewLease,
    SetLogLevel,
)
from tests.api.fakes import FakeClient, http_over
from tests.api.test_ops import ENDPOINT

IDLE = BindingView("n" * 64, "lan", "id:web", "02:00:00:00:00:01", ("192.0.2.7",))


def answer(body: Body) -> Answer:
    """As the supervisor does."""
    if isinstance(body, ForgetBinding):
        return Forgotten((IDLE,))
    return Done() if isinstance(body, SetLogLevel) else ENDPOINT


@pytest.mark.parametrize(
    ("method", "path", "body", "asked"),
    [
        ("POST", "/v1/endpoints/my%20web/renew", None, RenewLease("my web")),
        ("POST", "/v1/endpoints/web/release", {}, ReleaseLease("web")),
        ("POST", "/v1/endpoints/web/pin", {"id": "db-1"}, PinEndpoint("web", "db-1")),
        ("DELETE", "/v1/bindings/02:00:00:00:00:01", None, ForgetBinding("02:00:00:00:00:01")),
    ],
)
def test_changes(method: str, path: str, body: object, asked: Body) -> None:
    """Each reaches the supervisor as it was meant, and its answer is a view."""
    client = FakeClient(answer)
    text = "" if body is None else json.dumps(body)
    result = http_over(client).simulate_request(method, path, body=text)
    assert (result.status_code, client.bodies) == (200, [asked])
    if method == "DELETE":
        assert result.json["forgotten"][0]["key"] == "id:web"
    else:
        assert result.json["endpoint_id"] == ENDPOINT.endpoint_id


def test_log_level() -> None:
    """The API's own process follows, too."""
    before = logging.getLogger().level
    client = FakeClient(answer)
    try:
        result = http_over(client).simulate_put("/v1/loglevel", body='{"level": "ERROR"}')
        assert (result.status_code, result.json, client.bodies) == (200, {}, [SetLogLevel("ERROR")])
        assert logging.getLogger().level == logging.ERROR
    finally:
        logging.getLogger().setLevel(before)


@pytest.mark.parametrize(
    ("method", "path", "body", "text"),
    [
        ("POST", "/v1/endpoints/web/renew", '{"force": true}', "unknown field force; there are none here"),
        ("POST", "/v1/endpoints/web/pin", "", "id must be a non-empty string, got null None"),
        ("POST", "/v1/endpoints/web/pin", '{"id": 1}', "id must be a string"),
        ("POST", "/v1/endpoints/web/pin", '{"id": "a\\u0000b"}', "id must be a string of printable characters"),
        ("POST", "/v1/endpoints/web/pin", "[]", "the request's body must be a JSON object"),
        ("PUT", "/v1/loglevel", "{", "the request's body is not valid JSON"),
        ("POST", "/v1/endpoints/web/release?now=1", "", "unknown parameter 'now'"),
    ],
)
def test_refused(method: str, path: str, body: str, text: str) -> None:
    """A malformed body changes nothing."""
    client = FakeClient(answer)
    result = http_over(client).simulate_request(method, path, body=body)
    assert (result.status_code, result.json["Err"].startswith(text)) == (400, True), result.json
    assert client.bodies == []


def test_conflict() -> None:
    """What does not fit the state is 409 with the supervisor's sentence."""

    def refuse(_body: Body) -> Answer:
        raise Conflict("the id 'db' belongs to another identity")

    result = http_over(FakeClient(refuse)).simulate_post("/v1/endpoints/web/pin", body='{"id": "db"}')
    assert (result.status_code, result.json) == (409, {"Err": "the id 'db' belongs to another identity"})
