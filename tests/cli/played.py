"""HTTP servers on unix sockets that answer by a table, and record what they are asked."""

import json
import re
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = Any
Answer = tuple[int, Json] | Json | Callable[[dict[str, str], Json], Any]
API = re.compile(r"^/v\d+\.\d+(?=/)")  # the version that Docker's SDK puts ahead; the plugin's is /v1


class Played:
    """Answers `"GET /healthz": {...}`; a pair is a status and a body, a list the lines of a stream.

    A function gets the query and the body. `asked` are the questions, each with its query and body.
    """

    def __init__(self, path: Path, answers: dict[str, Answer]) -> None:
        self.path = path
        self.answers = answers
        self.asked: list[tuple[str, dict[str, str], Json]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._server = _Server(str(path), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Ends it; the socket goes."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.path.unlink(missing_ok=True)

    def questions(self, method: str) -> list[str]:
        """The paths that were asked by this method."""
        return [what.split()[1] for what, _, _ in self.asked if what.startswith(method + " ")]


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = False
    block_on_close = True

    def get_request(self) -> tuple[socket.socket, Any]:
        request, _ = super().get_request()
        return request, ("", 0)


def _handler(played: Played) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            what = f"{self.command} {API.sub('', parts.path)}"
            query = dict(parse_qsl(parts.query))
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(text) if text else None
            played.asked.append((what, query, body))
            answer = played.answers.get(what, (404, {"Err": f"404 Not Found: {what}"}))
            if callable(answer):
                answer = answer(query, body)
            self._send(*(answer if isinstance(answer, tuple) else (200, answer)))

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815

        def _send(self, status: int, body: Json) -> None:
            lines = body if isinstance(body, list) and self.path.startswith("/v1/") else [body]
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Connection", "close")
            self.end_headers()
            for line in lines:
                self.wfile.write(json.dumps(line).encode() + b"\n")

        def log_message(self, *_: object) -> None:  # pytest's output is not for that
            pass

    return Handler
