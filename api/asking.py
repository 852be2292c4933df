"""Asks the supervisor one question, and checks what kind of answer came."""

from typing import TypeVar

from supervisor.contract.client import Caller
from supervisor.contract.messages import Answer, Body

# An operator, or a health check, waits less patiently than the engine: these are answered from memory.
DEADLINE_SECONDS = 5.0

_T = TypeVar("_T", bound=Answer)


def ask(client: Caller, question: Body, kind: type[_T], deadline: float = DEADLINE_SECONDS) -> _T:
    """The answer; raises RequestError."""
    answer = client.call(question, deadline)
    if not isinstance(answer, kind):
        raise TypeError(f"{type(answer).__name__} is no answer to {type(question).__name__}")
    return answer
