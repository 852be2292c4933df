"""HTTP: methods, paths, headers, and how errors become answers."""

import logging

import pytest

from supervisor.contract.client import CALL_DEADLINE_SECONDS, DEADLINE_SECONDS
from supervisor.contract.errors import (
    Conflict,
    DeadlineExceeded,
    Failed,
    InvalidRequest,
    NotFound,
    RequestError,
    Unavailable,
)
from supervisor.contract.messages import Answer, Body, DeleteNetwork, Done, GetCapabilities, Joined, WorkerList
from tests.api.fakes import NETWORK_ID, FakeClient, http_over

DELETE = "/NetworkDriver.DeleteNetwork"
BODY = f'{{"NetworkID": "{NETWORK_ID}"}}'


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("Plugin.Activate", {"Implements": ["NetworkDriver"]}),
        ("NetworkDriver.AllocateNetwork", {"Options": {}}),
        ("NetworkDriver.FreeNetwork", {}),
        ("NetworkDriver.DiscoverNew", {}),
        ("NetworkDriver.DiscoverDelete", {}),
        ("NetworkDriver.ProgramExternalConnectivity", {}),
        ("NetworkDriver.RevokeExternalConnectivity", {}),
    ],
)
@pytest.mark.parametrize("body", [b"", b"{}", b"garbage"])
def test_calls_without_state(method: str, answer: dict[str, object], body: bytes) -> None:
    """These are answered whatever their body is, and without the supervisor."""
    client = FakeClient()
    result = http_over(client).simulate_post(f"/{method}", body=body)
    assert (result.status_code, result.json) == (200, answer)
    assert client.calls == []


@pytest.mark.parametrize("body", [b"", b"{}", b"garbage"])
@pytest.mark.parametrize("refusal", [None, Unavailable("the plugin is stopping")])
def test_capabilities(body: bytes, refusal: RequestError | None) -> None:
    """The engine gets them whatever the supervisor says, and the supervisor learns that the engine has asked."""

    def answer(_: Body) -> Answer:
        if refusal is not None:
            raise refusal
        return Done()

    client = FakeClient(answer)
    result = http_over(client).simulate_post("/NetworkDriver.GetCapabilities", body=body)
    assert (result.status_code, result.json) == (200, {"Scope": "local", "ConnectivityScope": "global"})
    assert client.bodies == [GetCapabilities()]


@pytest.mark.parametrize("name", ["lan\nlan", "\x1b[2J\x07", "a\0b", "n" * 10_000, "\u2028\ud800"])
def test_hostile_name_in_an_error(name: str) -> None:
    """docker prints the text on a terminal: it can do nothing there, and has an end."""

    def refuse(_: Body) -> Answer:
        raise Conflict(f"network {name} exists")

    result = http_over(FakeClient(refuse)).simulate_post(DELETE, body=BODY)
    assert result.json["Err"].startswith("network ")
    assert result.json["Err"].isprintable()
    assert len(result.json["Err"]) <= 10_000


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/json"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "garbage", "Accept": "application/vnd.docker.plugins.v1.2+json"},
        {"Host": "%2Frun%2Fdocker%2Fplugins%2Fx.sock"},
        {"Host": ""},
        {"Accept": "text/html"},
    ],
)
def test_headers_do_not_matter(headers: dict[str, str]) -> None:
    """Engines send no Content-Type and, by version, different things as Host."""
    client = FakeClient()
    result = http_over(client).simulate_post(DELETE, body=BODY, headers=headers)
    assert (result.status_code, result.json) == (200, {})
    assert result.headers["content-type"] == "application/json"
    assert client.calls == [(DeleteNetwork(NETWORK_ID), CALL_DEADLINE_SECONDS)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequest, 400),
        (NotFound, 404),
        (Conflict, 409),
        (Failed, 500),
        (Unavailable, 503),
        (DeadlineExceeded, 504),
    ],
)
def test_errors_of_the_supervisor(error: type[RequestError], status: int) -> None:
    """Each kind of error has its status, and its text goes to the user as it is."""

    def refuse(_body: Body) -> Answer:
        raise error('no such bridge "br\u00e9"')

    result = http_over(FakeClient(refuse)).simulate_post(DELETE, body=BODY)
    assert (result.status_code, result.json) == (status, {"Err": 'no such bridge "br\u00e9"'})


def test_every_error_class_has_a_status() -> None:
    """A new kind of error cannot be forgotten here: it would be an internal error to users."""
    for error in RequestError.__subclasses__():

        def refuse(_body: Body, error: type[RequestError] = error) -> Answer:
            raise error("text")

        assert http_over(FakeClient(refuse)).simulate_post(DELETE, body=BODY).json == {"Err": "text"}


def test_a_bug_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is in the log with its traceback; the user is told where to look."""

    def fail(_body: Body) -> Answer:
        raise ZeroDivisionError("secret")

    with caplog.at_level(logging.ERROR):
        result = http_over(FakeClient(fail)).simulate_post(DELETE, body=BODY)
    assert (result.status_code, result.json) == (
        500,
        {"Err": "internal error: ZeroDivisionError; see the plugin's log"},
    )
    assert [record.exc_info is not None for record in caplog.records] == [True]


@pytest.mark.parametrize("path", ["/NetworkDriver.GwAllocCheck", "/NetworkDriver.join", "/", "/v1", "/%00", "/a/../b"])
def test_unknown_paths(path: str) -> None:
    """An unknown method is 404, which the engine tolerates where it must, with an Err."""
    result = http_over(FakeClient()).simulate_post(path, body=BODY)
    assert (result.status_code, list(result.json)) == (404, ["Err"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", DELETE),
        ("PUT", DELETE),
        ("DELETE", DELETE),
        ("OPTIONS", DELETE),
        ("GET", "/Plugin.Activate"),
        ("OPTIONS", "/Plugin.Activate"),
        ("POST", "/healthz"),
        ("OPTIONS", "/v1/workers"),
    ],
)
def test_wrong_methods(method: str, path: str) -> None:
    """Calls are POSTs, questions are GETs, and everything else changes nothing."""
    client = FakeClient()
    result = http_over(client).simulate_request(method, path, body=BODY)
    assert (result.status_code, list(result.json)) == (405, ["Err"])
    assert ("POST" if path in (DELETE, "/Plugin.Activate") else "GET") in result.headers["allow"]
    assert client.calls == []


@pytest.mark.parametrize(
    ("verb", "path", "answer"),
    [("POST", DELETE, WorkerList(())), ("GET", "/v1/workers", Joined("a", "b", None, ()))],
)
def test_answers_of_the_wrong_kind(verb: str, path: str, answer: Answer) -> None:
    """What the supervisor cannot mean is an internal error, not an answer."""
    result = http_over(FakeClient(lambda _body: answer)).simulate_request(verb, path, body=BODY)
    assert (result.status_code, result.json) == (500, {"Err": "internal error: TypeError; see the plugin's log"})


def test_operators_wait_less() -> None:
    """A health check gets its answer, or an error, long before the engine would."""
    client = FakeClient(lambda _body: WorkerList(()))
    http_over(client).simulate_get("/v1/workers")
    assert [deadline for _, deadline in client.calls] == [DEADLINE_SECONDS]
