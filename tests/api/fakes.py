"""A supervisor for tests of the application: scripted answers, every call recorded."""

from collections.abc import Callable

from falcon.testing import TestClient

from api.app import create_app
from supervisor.contract.client import CALL_DEADLINE_SECONDS
from supervisor.contract.messages import Answer, Body, Done

NETWORK_ID = "n" * 64
ENDPOINT_ID = "e" * 64
SANDBOX_KEY = "/var/run/docker/netns/0123456789ab"


class FakeClient:
    """Answers with what `answer` returns or raises; `calls` are the messages and deadlines that came."""

    def __init__(self, answer: Callable[[Body], Answer] = lambda _body: Done()) -> None:
        self.answer = answer
        self.calls: list[tuple[Body, float]] = []

    def call(self, body: Body, deadline: float = CALL_DEADLINE_SECONDS) -> Answer:
        """Records, then answers."""
        self.calls.append((body, deadline))
        return self.answer(body)

    @property
    def bodies(self) -> list[Body]:
        """The messages that came."""
        return [body for body, _ in self.calls]


def http_over(client: FakeClient) -> TestClient:
    """HTTP without sockets to the application over `client`."""
    return TestClient(create_app(client))
