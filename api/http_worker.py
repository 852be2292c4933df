"""gunicorn's threaded worker: one request a connection, JSON for other protocols, no client that keeps a thread.

Owns the answer to a malformed request line, header or transfer coding, which never reaches the application. Must not
know the plugin protocol.
"""

import json
import socket
import struct
import time
from contextlib import suppress
from http import HTTPStatus

from gunicorn.http import Request
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

# A client that is still sending needs a moment to see its answer; one that never closes must not keep a thread.
LINGER_SECONDS = 2.0
# A client that takes nothing of its answer for so long, or for twice as long, loses it.
UNREAD_SECONDS = 10
DRAIN_BYTES = 1 << 16


class JsonThreadWorker(ThreadWorker):
    """As its base, whose own error answers are HTML, which engines would show to users.

    A connection has one request, and the thread that serves it also waits for its client's end: the base would do that
    in the thread that accepts.
    """

    def handle(self, conn: TConn) -> bool:
        """Whether the connection may be used again, which it may not unless its client has said nothing yet."""
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", UNREAD_SECONDS, 0))
        again: bool = super().handle(conn)
        if not again:
            _end(conn.sock)
        return again

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Whether the connection may be used again. One whose answer ends early is closed without the last chunk."""
        try:
            return bool(super().handle_request(req, conn))
        except BlockingIOError:
            self.log.warning("a client has not read its answer for %d s and is left", UNREAD_SECONDS)
        except ConnectionAbortedError as error:  # the application's
            self.log.warning("%s", error)
        return False

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


def _end(client: socket.socket) -> None:
    """Ends our side, then reads what the client still sends for LINGER_SECONDS at most; later reads see its end."""
    deadline = time.monotonic() + LINGER_SECONDS
    with suppress(OSError):  # the client has gone, or takes too long
        client.shutdown(socket.SHUT_WR)
        while (left := deadline - time.monotonic()) > 0:
            client.settimeout(left)
            if not client.recv(DRAIN_BYTES):
                return
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def _answer(status: HTTPStatus, text: str) -> bytes:
    body = json.dumps({"Err": text}).encode()
    head = (
        f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
