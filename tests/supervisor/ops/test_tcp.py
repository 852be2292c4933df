"""The ops service's settings: what is served, and what a wrong setting costs."""

import socket
from collections.abc import Iterator

import pytest

from supervisor.contract.errors import InvalidRequest
from supervisor.contract.messages import DeleteNetwork, GetHealth, Request
from supervisor.ops.tcp import OpsTcp, TcpSetting
from tests.supervisor.puppet import Answers, PlayedLoop, PlayedProcessManager

TOKEN = "0123456789abcdef"  # noqa: S105  the tests'


@pytest.mark.parametrize(
    ("listen", "token", "address"),
    [
        ("127.0.0.1:9618", "", ("127.0.0.1", 9618)),
        ("localhost:1", "", ("127.0.0.1", 1)),
        ("[::1]:65535", "", ("::1", 65535)),
        ("127.0.0.1:9618", TOKEN, ("127.0.0.1", 9618)),
        ("0.0.0.0:9618", TOKEN, ("0.0.0.0", 9618)),  # noqa: S104
        ("[::]:9618", TOKEN, ("::", 9618)),
    ],
)
def test_usable(listen: str, token: str, address: tuple[str, int]) -> None:
    """A loopback address is served as it is, any other one with a token."""
    where, port = TcpSetting(listen, token).address()
    assert (str(where), port) == address


@pytest.mark.parametrize(
    ("listen", "token", "said"),
    [
        ("9618", "", "ADDRESS:PORT"),
        (":9618", "", "ADDRESS:PORT"),
        ("example.org:9618", "", "ADDRESS:PORT"),
        ("127.0.0.1", "", "ADDRESS:PORT"),
        ("127.0.0.1:0", "", "ADDRESS:PORT"),
        ("127.0.0.1:65536", "", "ADDRESS:PORT"),
        ("127.0.0.1:٣", "", "ADDRESS:PORT"),
        ("::1:9618", "", "ADDRESS:PORT"),
        ("0.0.0.0:9618", "", "OPS_TOKEN must be set"),
        ("[::]:9618", "", "OPS_TOKEN must be set"),
        ("192.0.2.7:9618", "", "OPS_TOKEN must be set"),
        ("0.0.0.0:9618", "short", "at least 16 characters"),
        ("127.0.0.1:9618", "0123456789 abcdef", "without blanks"),
    ],
)
def test_unusable(listen: str, token: str, said: str) -> None:
    """Any other setting starts nothing, and the sentence for operators says what to do."""
    loop = PlayedLoop()
    tcp = OpsTcp(PlayedProcessManager(loop), loop, TcpSetting(listen, token), lambda _request, _respond: None)
    tcp.look()
    (problem,) = tcp.problems
    assert said in problem
    assert "docker plugin set" in problem
    assert tcp.children == ()


def test_nothing_wanted() -> None:
    """Without OPS_LISTEN there is no process, and no problem."""
    loop = PlayedLoop()
    tcp = OpsTcp(PlayedProcessManager(loop), loop, TcpSetting("", TOKEN), lambda _request, _respond: None)
    tcp.look()
    assert (tcp.problems, tcp.children) == ((), ())


@pytest.fixture(name="port")
def _port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_address_in_use(port: int) -> None:
    """A port that another program has is a problem until that program gives it up."""
    loop = PlayedLoop()
    tcp = OpsTcp(PlayedProcessManager(loop), loop, TcpSetting(f"127.0.0.1:{port}"), lambda _request, _respond: None)
    tcp.look()
    (problem,) = tcp.problems
    assert f"127.0.0.1:{port} cannot be bound (Address already in use)" in problem


def test_only_questions() -> None:
    """Whoever owns the service's process cannot change anything: the supervisor takes questions from it alone."""
    loop = PlayedLoop()
    asked: list[Request] = []
    tcp = OpsTcp(PlayedProcessManager(loop), loop, TcpSetting(), lambda request, _respond: asked.append(request))
    answers = Answers()
    tcp._on_question(Request(1, DeleteNetwork("n")), answers)
    tcp._on_question(Request(2, GetHealth()), answers)
    (refusal,) = answers
    assert isinstance(refusal, InvalidRequest)
    assert [request.id for request in asked] == [2]
