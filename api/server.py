"""The API process: gunicorn over a listening socket of the supervisor's.

    supervisor ── fork ──► master (gunicorn's arbiter) ── fork ──► worker (threads; the application)
                                                                     │ requests  ▲ replies

The unit lives and dies as one: when the worker is gone the master exits, when the master is gone the kernel kills
the worker, and when the channel to the supervisor breaks the worker stops. The supervisor then starts another unit
with fresh queues, as a queue whose reader was killed may be locked for ever. Must not know the engine's protocol.
"""

import ctypes
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

from supervisor.contract.client import Client
from supervisor.contract.messages import Reply, Request
from supervisor.runtime.shared_memory import share_objects
from supervisor.runtime.stand_ins import stand_ins

with stand_ins():
    import falcon
    from gunicorn.app.base import BaseApplication
    from gunicorn.arbiter import Arbiter
    from gunicorn.errors import HaltServer
    from gunicorn.http.errors import ParseException
    from gunicorn.workers.base import Worker

    from api import ops
    from api.app import App, create_app
    from api.http_worker import JsonThreadWorker

# For the engine more than one host starts containers at once, and those that long answers to operators may keep. A
# thread is made when all others are busy.
THREADS = 64 + sum(path.at_once or 0 for path in ops.PATHS.values())
# gunicorn kills a worker whose event loop has not reported for so long; busy threads do not keep it from that.
HEARTBEAT_TIMEOUT_SECONDS = 60
# Requests in flight at a stop get so long; the engine kills a plugin after 10 s.
STOP_TIMEOUT_SECONDS = 2

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; workers/system/libc.py is not for the API
_M_ARENA_MAX = -8  # malloc.h
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 gunicorn makes an unpredictable name in it and unlinks that at once

_log = logging.getLogger(__name__)


def run(listener_fd: int, requests: "SimpleQueue[Request]", replies: "SimpleQueue[Reply]") -> None:
    """Serves until SIGTERM; leaves with SystemExit: 0 after a SIGTERM, 1 when the worker has gone.

    To be called in a child of its own, with logging set up. `listener_fd` is the listening unix socket, whose file
    stays. Nothing else may use the queues at this end, and their far ends must be closed here, or this process never
    sees the channel's end.
    """
    client = Client(requests, replies)
    Server(listener_fd, client, lambda: create_app(client), JsonThreadWorker, THREADS).run()


class Server(BaseApplication):
    """`make_app` is called before the fork of the worker, a `worker_class` with so many threads."""

    def __init__(
        self,
        listener_fd: int,
        client: Client,
        make_app: Callable[[], App],
        worker_class: type[JsonThreadWorker],
        threads: int,
    ) -> None:
        self._listener_fd = os.dup(listener_fd)  # gunicorn closes it
        self._client = client
        self._make_app = make_app
        self._worker_class = worker_class
        self._threads = threads
        super().__init__()

    def run(self) -> None:
        Arbiter(self).run()

    def load_config(self) -> None:
        for name, value in self._settings().items():
            self.cfg.set(name, value)

    def load(self) -> Any:  # noqa: ANN401 gunicorn's type for a WSGI application
        app = self._make_app()
        app.add_error_handler(ParseException, _malformed_body)
        return app

    def _settings(self) -> Mapping[str, object]:
        return {
            "bind": f"fd://{self._listener_fd}",
            "worker_class": self._worker_class,
            "workers": 1,
            "threads": self._threads,
            "preload_app": True,  # in the master, so that both processes share its memory
            "keepalive": 0,  # the engine replays a request without its body when a kept connection turns out closed
            "timeout": HEARTBEAT_TIMEOUT_SECONDS,
            "graceful_timeout": STOP_TIMEOUT_SECONDS,
            "control_socket_disable": True,  # its thread and gunicorn's fork do not go together
            "worker_tmp_dir": str(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None,
            "errorlog": None,  # no handler of its own, see _on_starting
            "loglevel": "warning",
            "on_starting": _on_starting,
            "pre_fork": _pre_fork,
            "post_fork": _post_fork,
            "post_worker_init": self._post_worker_init,
        }

    def _post_worker_init(self, worker: Worker) -> None:
        """Threads do not survive a fork, so the client's is started after the last one."""
        reader = self._client.start()
        threading.Thread(target=_stop_with, args=(reader,), name="channel", daemon=True).start()


def _malformed_body(
    _req: falcon.Request, _resp: falcon.Response, error: ParseException, _params: dict[str, str]
) -> None:
    """A chunked body is parsed while the application reads it."""
    raise falcon.HTTPBadRequest(description=f"malformed HTTP request: {error}")


def _on_starting(arbiter: Arbiter) -> None:
    arbiter.systemd = True  # gunicorn's word for: the socket's file belongs to somebody else, do not unlink it
    logging.getLogger("gunicorn.error").propagate = True


def _pre_fork(_arbiter: Arbiter, worker: Worker) -> None:
    if worker.age > 1:
        raise HaltServer("the API's worker has gone", 1)
    share_objects()


def _post_fork(arbiter: Arbiter, worker: Worker) -> None:
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_ARENA_MAX, 1)  # else a heap of its own for each thread, 70 kB that stay
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != worker.ppid:  # the master died before it could be watched
        raise SystemExit(1)


def _stop_with(reader: threading.Thread) -> None:
    """A SIGTERM makes gunicorn's worker answer the requests in flight, then exit."""
    reader.join()
    _log.error("the channel to the supervisor broke")
    os.kill(os.getpid(), signal.SIGTERM)
