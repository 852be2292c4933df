"""The ops service's process: gunicorn over a TCP socket of the supervisor's, as api.server is over the plugin's.

Owns how long a client over TCP may take to ask. Must not know who may ask what: that is the application's.
"""

import socket
import threading
import time
from contextlib import suppress
from multiprocessing.queues import SimpleQueue

from api.server import Server
from supervisor.contract.client import Client
from supervisor.contract.messages import Reply, Request
from supervisor.runtime.stand_ins import stand_ins

with stand_ins():
    from gunicorn.http import Request as HttpRequest
    from gunicorn.workers.gthread import TConn

    from api import ops
    from api.http_worker import JsonThreadWorker
    from api.tcp_app import create_tcp_app

THREADS = 24 + sum(path.at_once or 0 for path in ops.PATHS.values())
HEAD_SECONDS = 10.0  # in which a client has sent the head of its request
LOOK_SECONDS = 1.0


def run(listener_fd: int, requests: "SimpleQueue[Request]", replies: "SimpleQueue[Reply]", token: str) -> None:
    """As api.server.run, for the TCP socket `listener_fd`. An empty token stands for none."""
    client = Client(requests, replies)
    hostname = socket.gethostname()
    Server(listener_fd, client, lambda: create_tcp_app(client, token, hostname), TcpThreadWorker, THREADS).run()


class TcpThreadWorker(JsonThreadWorker):
    """As its base; a client that sends its request byte by byte must not keep a thread, so it is cut off in time."""

    def init_process(self) -> None:
        """Called in the worker's process; a thread looks at the clients."""
        self._late_at: dict[socket.socket, float] = {}
        threading.Thread(target=self._cut_off, name="heads", daemon=True).start()
        super().init_process()

    def handle(self, conn: TConn) -> bool:
        """As its base."""
        self._late_at[conn.sock] = time.monotonic() + HEAD_SECONDS
        try:
            return super().handle(conn)
        finally:
            self._late_at.pop(conn.sock, None)

    def handle_request(self, req: HttpRequest, conn: TConn) -> bool:
        """The head has come."""
        self._late_at.pop(conn.sock, None)
        return super().handle_request(req, conn)

    def _cut_off(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for client in [client for client, at in tuple(self._late_at.items()) if at < now]:
                with suppress(OSError):  # it has gone
                    client.shutdown(socket.SHUT_RD)
