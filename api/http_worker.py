"""gunicorn's threaded worker with JSON for what is not HTTP: such requests never reach the application.

Owns the answer to a malformed request line, header or transfer coding. Must not know the plugin protocol.
"""

import json
import socket
from http import HTTPStatus

from gunicorn.http import Request
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import ThreadWorker


class JsonThreadWorker(ThreadWorker):
    """As its base, whose own error answers are HTML, which engines would show to users as it is."""

    def handle_error(self, req: Request | None, client: socket.socket, addr: object, exc: BaseException) -> None:
        """Answers on `client`; the caller closes it."""
        if isinstance(exc, ParseException):
            status, text = HTTPStatus.BAD_REQUEST, f"malformed HTTP request: {exc}"
            self.log.warning("%s", text)
        else:
            status, text = HTTPStatus.INTERNAL_SERVER_ERROR, f"internal error: {type(exc).__name__}"
            self.log.error("a connection failed", exc_info=exc)
        try:
            client.sendall(_answer(status, text))
        except OSError as error:
            self.log.debug("the client has gone: %s", error)  # nobody is left to be told


def _answer(status: HTTPStatus, text: str) -> bytes:
    body = json.dumps({"Err": text}).encode()
    head = (
        f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
