"""The plugin's API, over its socket. Owns HTTP and what goes wrong there; knows no resource."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from cli.errors import Failure, NotFound, NotRoot, Refused, TooOld, Unreachable

# More than the plugin's own deadlines: a start, a probe or a release may take most of Docker's 30 s.
TIMEOUT_SECONDS = 40.0
LINE_LIMIT_BYTES = 1 << 20
Json = dict[str, Any]


class Client:
    """Questions to the plugin behind one socket. All methods raise Failure."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, path: str, **parameters: object) -> Json:
        """The answer; parameters that are None are left out."""
        return self.ask("GET", path, parameters)[1]

    def post(self, path: str, body: Json | None = None) -> Json:
        """Asks for a change."""
        return self.ask("POST", path, body=body)[1]

    def delete(self, path: str) -> Json:
        """Asks for something to be forgotten."""
        return self.ask("DELETE", path)[1]

    def health(self) -> Json:
        """A plugin that is not well answers with 503 and says why."""
        status, answer = self.ask("GET", "/healthz", sick=True)
        if "healthy" not in answer:
            raise _refusal("GET /healthz", status, answer)
        return answer

    def ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, object] | None = None,
        body: Json | None = None,
        *,
        sick: bool = False,
    ) -> tuple[int, Json]:
        """Status and answer; with `sick` a 503 is an answer, too."""
        with closing(self._send(method, path, parameters or {}, body)) as connection:
            response = self._response(connection)
            answer = _parsed(_whole(response))
        if response.status >= HTTPStatus.BAD_REQUEST and not (sick and response.status == 503):
            raise _refusal(f"{method} {path}", response.status, answer)
        return response.status, answer

    def lines(self, path: str, **parameters: object) -> Iterator[Json]:
        """Objects, one a line, as they come. The stream may end at any time."""
        with closing(self._send("GET", path, parameters, None)) as connection:
            response = self._response(connection)
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise _refusal(f"GET {path}", response.status, _parsed(_whole(response)))
            while line := self._line(response):
                if line.strip():
                    yield _parsed(line)

    def _line(self, response: HTTPResponse) -> bytes:
        try:
            return response.readline(LINE_LIMIT_BYTES)
        except (OSError, HTTPException, ValueError):
            return b""  # the plugin has ended, or was too slow: as the end of the stream

    def _send(self, method: str, path: str, parameters: Mapping[str, object], body: Json | None) -> HTTPConnection:
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        connection = _UnixConnection(self.path)
        try:
            connection.request(method, path + ("?" + query if query else ""), json.dumps(body) if body else None)
        except PermissionError:
            raise NotRoot(str(self.path)) from None
        except (OSError, HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from None
        return connection

    def _response(self, connection: HTTPConnection) -> HTTPResponse:
        try:
            return connection.getresponse()
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"no answer from the plugin at {self.path}: {str(error) or type(error).__name__}")


def segment(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def _whole(response: HTTPResponse) -> bytes:
    try:
        return response.read()
    except (OSError, HTTPException) as error:
        raise Unreachable(f"the plugin's answer broke off: {error}") from None


def _parsed(body: bytes) -> Json:
    try:
        answer = json.loads(body) if body.strip() else {}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Refused(f"what answers there is not the plugin: {body[:60].decode(errors='replace')!r}")
    return answer


def _refusal(what: str, status: int, answer: Json) -> Failure:
    why = str(answer.get("Err") or f"{what}: status {status}")
    if why.startswith(("404 ", "405 ")):  # of HTTP itself: the path is not known
        return TooOld(what)
    return NotFound(why) if status == HTTPStatus.NOT_FOUND else Refused(why)


class _UnixConnection(HTTPConnection):
    """A connection to a socket whose path may be longer than the 107 bytes that a socket's may have."""

    def __init__(self, path: Path) -> None:
        super().__init__("plugin", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """By way of a descriptor of its directory."""
        directory = os.open(self._path.parent, os.O_PATH)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)
