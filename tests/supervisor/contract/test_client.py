"""The caller's end of the queues: many threads, one reader, and every waiter told when the channel breaks."""

import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import SimpleQueue

import pytest

from supervisor.contract.client import Client
from supervisor.contract.errors import DeadlineExceeded, NotFound, Unavailable
from supervisor.contract.messages import Answer, DeleteNetwork, Done, GetHealth, OperValues, Reply, Request

PATIENCE_SECONDS = 30.0


class Channel:
    """A started client, and the supervisor's ends of its queues."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self.requests: SimpleQueue[Request] = context.SimpleQueue()
        self.replies: SimpleQueue[Reply] = context.SimpleQueue()
        before = set(threading.enumerate())
        self.client = Client(self.requests, self.replies)
        self.client.start()
        (self.reader,) = set(threading.enumerate()) - before
        self.hello = self.requests.get()

    def disconnect(self) -> None:
        """What the death of the supervisor is to the client: the end of the replies."""
        self.replies._writer.close()  # type: ignore[attr-defined]  # SimpleQueue itself closes only both ends
        self.reader.join(PATIENCE_SECONDS)

    def close(self) -> None:
        """Ends the reader, then the descriptors."""
        self.disconnect()
        self.requests.close()
        self.replies.close()


@pytest.fixture(name="channel")
def _channel() -> Iterator[Channel]:
    channel = Channel()
    yield channel
    channel.close()


@pytest.fixture(name="callers")
def _callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool


def test_hello(channel: Channel, callers: ThreadPoolExecutor) -> None:
    """A started client says so without being asked; the answer to that is nobody's."""
    assert channel.hello == Request(0, GetHealth())
    channel.replies.put(Reply(channel.hello.id, Done()))
    call = callers.submit(channel.client.call, GetHealth())
    channel.replies.put(Reply(channel.requests.get().id, OperValues({"to": "the call"})))
    assert call.result(PATIENCE_SECONDS) == OperValues({"to": "the call"})


def test_an_answer(channel: Channel, callers: ThreadPoolExecutor) -> None:
    """The message goes there as it is, the answer comes back as it is."""
    call = callers.submit(channel.client.call, DeleteNetwork("n" * 64))
    request = channel.requests.get()
    assert request.body == DeleteNetwork("n" * 64)
    channel.replies.put(Reply(request.id, Done()))
    assert call.result(PATIENCE_SECONDS) == Done()


def test_a_refusal(channel: Channel, callers: ThreadPoolExecutor) -> None:
    """The supervisor's error is raised in the caller, with its kind and its text."""
    call = callers.submit(channel.client.call, DeleteNetwork("n" * 64))
    channel.replies.put(Reply(channel.requests.get().id, NotFound("no such network")))
    with pytest.raises(NotFound, match="no such network"):
        call.result(PATIENCE_SECONDS)


def test_answers_out_of_order(channel: Channel, callers: ThreadPoolExecutor) -> None:
    """Twenty callers at once each get their own answer, though the last asked is answered first."""
    calls = {str(number): callers.submit(channel.client.call, DeleteNetwork(str(number))) for number in range(20)}
    requests = [channel.requests.get() for _ in calls]
    assert len({request.id for request in requests}) == 20
    for request in reversed(requests):
        assert isinstance(request.body, DeleteNetwork)
        channel.replies.put(Reply(request.id, OperValues({"of": request.body.network_id})))
    answers: dict[str, Answer] = {number: call.result(PATIENCE_SECONDS) for number, call in calls.items()}
    assert answers == {number: OperValues({"of": number}) for number in calls}


def test_deadline(channel: Channel, callers: ThreadPoolExecutor) -> None:
    """A call without answer ends at its deadline; the late answer is dropped and disturbs no later call."""
    with pytest.raises(DeadlineExceeded, match="GetHealth"):
        channel.client.call(GetHealth(), deadline=0.05)
    late = channel.requests.get()
    channel.replies.put(Reply(late.id, OperValues({"late": "yes"})))
    call = callers.submit(channel.client.call, GetHealth())
    channel.replies.put(Reply(channel.requests.get().id, Done()))
    assert call.result(PATIENCE_SECONDS) == Done()


def test_end_of_the_channel(channel: Channel, callers: ThreadPoolExecutor) -> None:
    """When the supervisor is gone every waiter fails at once, and whoever calls later too."""
    calls = [callers.submit(channel.client.call, GetHealth()) for _ in range(5)]
    for _ in calls:
        channel.requests.get()
    channel.disconnect()
    for call in calls:
        with pytest.raises(Unavailable, match="gone"):
            call.result(PATIENCE_SECONDS)
    with pytest.raises(Unavailable, match="gone"):
        channel.client.call(GetHealth())


def test_nobody_reads_the_requests(channel: Channel) -> None:
    """A request that cannot be sent fails at once, not at its deadline."""
    channel.requests._reader.close()  # type: ignore[attr-defined]  # SimpleQueue itself closes only both ends
    with pytest.raises(Unavailable, match="broke"):
        channel.client.call(GetHealth())
