"""The worker's process: it sleeps until something happens, and then forks a turn, which does the work.

    supervisor ──forks──► sleeper ──forks──► turn: wakes as the worker, works, hands over,
                             ▲ state and descriptors │ and ends, or becomes the udhcpc that it starts
                             └───────────────────────┘
Work takes memory that Python does not give back: a process that did all of it by itself would keep several times what
one keeps that has only slept. So a sleeper touches as little as it can. Owns the order of turns and the exit statuses
of its children; must not know what a turn is about.
"""

import logging
import os
import signal
import socket
import time
from contextlib import suppress
from multiprocessing.connection import Connection

from workers.contract.messages import Begin
from workers.endpoint.worker import Worker
from workers.entry.handover import Rest, pack, receive, send, unpack
from workers.entry.jobs import begin
from workers.entry.renewals import await_work
from workers.system.libc import follow_parent, take_name
from workers.system.namespaces import Namespace, current
from workers.system.process_log import log_as

SETTLED = b"\0"
RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)


def live(channel: int, near: int, far: int) -> None:
    """A worker's whole life; a turn's process returns as well, at the end of the turn. Takes descriptors.

    `channel` is the supervisor's, `near` and `far` are a pair of sockets that keep messages apart, for turns to hand
    over. The first turn is forked at once and waits for a Begin. A turn that fails is the end, with its status.
    """
    sleeper, rest, inbox = os.getpid(), None, socket.SocketType(fileno=near)
    old, renewed = [channel], None
    while True:
        turn = os.fork() if rest is None else _fork_patiently()
        if turn == 0:
            follow_parent(sleeper, signal.SIGKILL)
            _take_turn(_begun(channel) if rest is None else _woken(rest, renewed), far)
            return
        os.close(far)
        rest = receive(inbox)
        if rest is None:
            _end_as(os.waitpid(turn, 0)[1])
            return
        _settle(rest)
        inbox.send(SETTLED)
        for number in old:
            os.close(number)  # which takes 15 ms for some sockets
        old, far = rest.numbers, rest.far
        for pid in rest.ended:
            os.waitpid(pid, 0)
        renewed = await_work(rest.watched, rest.expected)


def _fork_patiently() -> int:
    """As os.fork, but waits until the kernel has room: our end would cost the container its udhcpc."""
    while True:
        try:
            return os.fork()
        except OSError as error:
            log.error("a turn could not be forked, tried again in %g s: %s", RETRY_SECONDS, error)
            time.sleep(RETRY_SECONDS)


def _settle(rest: Rest) -> None:
    """Where the turn was, under the name that it had."""
    take_name(rest.name)
    place = Namespace(rest.place)
    place.enter()
    place.close()


def _end_as(status: int) -> None:
    """As the turn has: by its signal, or with its exit status; in order, when all children have ended."""
    if status == 0:
        with suppress(ChildProcessError):
            while True:
                os.wait()
    if os.WIFSIGNALED(status):
        with suppress(OSError):  # SIGKILL is always at its default
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    if os.WEXITSTATUS(status):
        raise SystemExit(os.WEXITSTATUS(status))


def _begun(number: int) -> Worker | None:
    """The worker of an endpoint that there is something to do for."""
    channel = Connection(number)
    try:
        order: Begin = channel.recv()
    except (EOFError, OSError):
        return None  # the supervisor is gone, or does not need it
    take_name(order.spec.process_name)
    log_as(order.spec.network_id, order.spec.endpoint_id)
    return begin(order, channel)


def _woken(rest: Rest, renewed: tuple[float, float] | None) -> Worker:
    worker = unpack(rest.state, rest.numbers, Worker)
    worker.bind()
    log_as(*worker.ids)
    if renewed is not None:
        worker.renewed(*renewed)
    return worker


def _take_turn(worker: Worker | None, far: int) -> None:
    if worker is not None:
        worker.serve()
    if worker is None or worker.done:
        return
    start, left, ended = worker.take_start(), worker.take_left(), worker.take_ended()
    if start is None:
        ended.append(os.getpid())
    state, numbers = pack(worker)
    with current() as place:
        watched, expected = list(worker.sources()), worker.expected()
        send(Rest(worker.name, state, numbers, watched, expected, ended, place.fileno(), far))
    os.read(far, len(SETTLED))  # the sleeper has followed
    if left is not None:
        worker.say_left(left)
    if start is not None:
        start.become()
