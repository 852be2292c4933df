"""The application of the ops service: the page and the questions, for clients that come over TCP.

Owns what a client over TCP must meet: the Host header, the token, and a rate; and the headers by which a browser keeps
what it shows from doing harm. Never has the plugin protocol, nor anything that changes something.
"""

import re
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from secrets import compare_digest

import falcon

from api.app import App, add_questions
from api.static_files import add_files
from supervisor.contract.client import Caller

# Questions cost the supervisor's time, up to 6 ms for each 200 endpoints: Docker's requests come first.
QUESTIONS_PER_SECOND, QUESTIONS_AT_ONCE = 10.0, 60
OPEN_PATHS = re.compile(r"/|/static/[^/]+")  # what a browser loads before it can ask for the token
BEARER = "Bearer "
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def create_tcp_app(client: Caller, token: str, hostname: str) -> App:
    """The application over the supervisor that `client` reaches; `hostname` is the machine's."""
    app = falcon.App()
    app.add_middleware(_SafeHeaders())
    app.add_middleware(_Hosts(token, hostname))
    app.add_middleware(_Rate())
    app.add_middleware(_Token(token))
    add_questions(app, client, with_changes=False)
    add_files(app)
    return app


class _SafeHeaders:
    """Headers of every answer, errors included. A browser keeps no answer that does not say so."""

    def process_response(self, _req: falcon.Request, resp: falcon.Response, _resource: object, _ok: bool) -> None:
        resp.set_headers(HEADERS)
        if resp.get_header("Cache-Control") is None:
            resp.set_header("Cache-Control", "no-store")


@dataclass(frozen=True)
class _Hosts:
    """Against DNS rebinding: a page from elsewhere cannot ask by a name that its owner lets point here.

    With a token the machine may be called by its own name as well, with any domain: that page does not know the token.
    """

    token: str
    hostname: str

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Refuses another Host than an address or a name of this machine."""
        if not self._is_ours(_without_port(req.get_header("Host") or "")):
            known = f"an address, or this machine's name {self.hostname}" if self.token else "localhost or 127.0.0.1"
            raise falcon.HTTPError(HTTPStatus.MISDIRECTED_REQUEST, description=f"the Host header must be {known}")

    def _is_ours(self, host: str) -> bool:
        if host == "localhost":
            return True
        try:
            address = ip_address(host)
        except ValueError:
            name = self.hostname.lower()
            return bool(self.token and name) and (host == name or host.startswith(f"{name}."))
        return bool(self.token) or address.is_loopback


def _without_port(host: str) -> str:
    """The host of a Host header; it may be an IPv6 address in brackets."""
    match = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::\d{1,5})?", host.strip().lower())
    return "" if match is None else (match[1] or match[2]).removesuffix(".")


@dataclass
class _Rate:
    """A bucket for all clients together: one client must not slow the supervisor down, nor must many."""

    _room: float = QUESTIONS_AT_ONCE
    _at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Refuses questions beyond the rate, but never the page's files, which cost the supervisor nothing."""
        if not OPEN_PATHS.fullmatch(req.path) and not self._take():
            raise falcon.HTTPTooManyRequests(
                description=f"more than {QUESTIONS_PER_SECOND:g} questions a second; ask more slowly", retry_after=1
            )

    def _take(self) -> bool:
        with self._lock:
            now = time.monotonic()
            self._room = min(QUESTIONS_AT_ONCE, self._room + (now - self._at) * QUESTIONS_PER_SECOND)
            self._at = now
            if self._room < 1:
                return False
            self._room -= 1
            return True


@dataclass(frozen=True)
class _Token:
    token: str

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Refuses a question without the token, where there is one."""
        if not self.token or OPEN_PATHS.fullmatch(req.path):
            return
        given = req.get_header("Authorization") or ""
        if not (
            given.startswith(BEARER)
            and compare_digest(given.removeprefix(BEARER).strip().encode(), self.token.encode())
        ):
            raise falcon.HTTPUnauthorized(
                description="the plugin's OPS_TOKEN is needed, as `Authorization: Bearer TOKEN`", challenges=["Bearer"]
            )
