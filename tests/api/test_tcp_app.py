"""The ops service's application: who may ask, how often, and what a browser is told about the answers."""

import time
from http import HTTPStatus

import pytest
from falcon.testing import Result, TestClient

from api import static_files
from api.static_files import StaticFile
from api.tcp_app import QUESTIONS_AT_ONCE, create_tcp_app
from supervisor.contract.messages import GetHealth
from tests.api.fakes import FakeClient
from tests.api.test_ops import HEALTH

TOKEN = "0123456789abcdef"  # noqa: S105  the tests'
HOST = "nas"
PAGE = {
    "index.html": StaticFile(b"<!doctype html>", "text/html; charset=utf-8", "t1"),
    "page.js": StaticFile(b"go()", "text/javascript; charset=utf-8", "t2"),
}


@pytest.fixture(name="client")
def _client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    monkeypatch.setattr(static_files, "load", lambda: PAGE)
    return FakeClient(lambda _body: HEALTH)


def ask(
    client: FakeClient, path: str = "/healthz", *, token: str = "", host: str = "127.0.0.1:9618", **more: str
) -> Result:
    """The answer over TCP to a client with these headers."""
    return TestClient(create_tcp_app(client, token, HOST)).simulate_get(path, headers={"Host": host, **more})


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9618", "127.0.0.1", "localhost", "LOCALHOST:80", "localhost.", "[::1]:9618"]
)
def test_host_of_loopback(client: FakeClient, host: str) -> None:
    """Without a token the machine's own addresses are answered, over any port, as an SSH tunnel has another one."""
    assert ask(client, host=host).status_code == HTTPStatus.OK


@pytest.mark.parametrize(
    "host",
    ["evil.example:9618", "localhost.evil.example", "nas", "192.0.2.7", "", "127.0.0.1@evil", "[::1", "a b", "%"],
)
def test_rebound_host(client: FakeClient, host: str) -> None:
    """A name that others own is refused, also for the page, and nothing is asked of the supervisor."""
    for path in ("/healthz", "/"):
        result = ask(client, path, host=host)
        assert result.status_code == HTTPStatus.MISDIRECTED_REQUEST
        assert "localhost or 127.0.0.1" in result.json["Err"]
    assert client.bodies == []


@pytest.mark.parametrize(
    ("host", "known"), [("nas", True), ("NAS.lan:9618", True), ("192.0.2.7", True), ("nasty.lan", False)]
)
def test_host_with_token(client: FakeClient, host: str, known: bool) -> None:
    """With a token the machine's name, with any domain, and its addresses are answered as well."""
    result = ask(client, token=TOKEN, host=host, Authorization=f"Bearer {TOKEN}")
    assert (result.status_code == HTTPStatus.OK) is known


@pytest.mark.parametrize(
    "given", [None, "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ", "Bearer é"]
)
def test_no_token(client: FakeClient, given: str | None) -> None:
    """Where there is a token, a question without it is refused; only the page's files are open, to ask for it."""
    headers = {} if given is None else {"Authorization": given}
    result = ask(client, token=TOKEN, **headers)
    assert (result.status_code, result.headers["www-authenticate"]) == (HTTPStatus.UNAUTHORIZED, "Bearer")
    assert client.bodies == []
    assert [ask(client, path, token=TOKEN, **headers).status_code for path in ("/", "/static/page.js")] == [200, 200]


def test_token(client: FakeClient) -> None:
    """The right token opens the questions."""
    assert ask(client, token=TOKEN, Authorization=f"Bearer {TOKEN}").status_code == HTTPStatus.OK
    assert client.bodies == [GetHealth()]


@pytest.mark.parametrize("path", ["/healthz", "/", "/static/page.js", "/nothing", "/v1/endpoints?nonsense=1"])
def test_headers(client: FakeClient, path: str) -> None:
    """Every answer, refusals included, forbids a browser scripts from elsewhere, framing and guessing of types."""
    headers = ask(client, path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == ("no-cache" if path in ("/", "/static/page.js") else "no-store")
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/Plugin.Activate"),
        ("POST", "/NetworkDriver.CreateNetwork"),
        ("POST", "/healthz"),
        ("DELETE", "/v1/endpoints/web"),
        ("OPTIONS", "/healthz"),
    ],
)
def test_only_questions(client: FakeClient, method: str, path: str) -> None:
    """Over TCP there is no plugin protocol, and nothing that changes anything."""
    result = TestClient(create_tcp_app(client, "", HOST)).simulate_request(method, path, headers={"Host": "localhost"})
    assert result.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
    assert client.bodies == []


def test_rate(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many questions are refused until time has passed; the page's files are not counted."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    asking = TestClient(create_tcp_app(client, "", HOST), headers={"Host": "localhost"})
    codes = [asking.simulate_get("/healthz").status_code for _ in range(QUESTIONS_AT_ONCE + 2)]
    assert codes == [200] * QUESTIONS_AT_ONCE + [429, 429]
    refused = asking.simulate_get("/healthz")
    assert (refused.headers["retry-after"], "more slowly" in refused.json["Err"]) == ("1", True)
    assert asking.simulate_get("/").status_code == HTTPStatus.OK
    now += 1.0
    assert asking.simulate_get("/healthz").status_code == HTTPStatus.OK


def test_page(client: FakeClient) -> None:
    """The page and its files come with their own types, and once more only if they have changed."""
    page = ask(client, "/")
    assert (page.content, page.headers["content-type"]) == (b"<!doctype html>", "text/html; charset=utf-8")
    script = ask(client, "/static/page.js")
    assert (script.content, script.headers["content-type"]) == (b"go()", "text/javascript; charset=utf-8")
    again = ask(client, "/static/page.js", **{"If-None-Match": script.headers["etag"]})
    assert (again.status_code, again.content) == (HTTPStatus.NOT_MODIFIED, b"")


@pytest.mark.parametrize(
    "name", ["__init__.py", "..%2f..%2fapp.py", "../app.py", "%2e%2e/app.py", "page.js/x", "PAGE.JS"]
)
def test_no_other_file(client: FakeClient, name: str) -> None:
    """Nothing is served that is not one of the page's files by its very name."""
    assert ask(client, f"/static/{name}").status_code == HTTPStatus.NOT_FOUND


def test_package() -> None:
    """Of the package only files of known types are taken, and so no source."""
    assert not [name for name in static_files.load() if name.endswith(".py")]
