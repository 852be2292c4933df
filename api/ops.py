"""The ops surface: what operators ask of the plugin with `curl --unix-socket`.

Owns the JSON form of the supervisor's views: the fields of the dataclasses under their own names, addresses as
strings (an interface is an address, too), times as ISO 8601 in UTC. Must not know the plugin protocol.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from ipaddress import IPv4Address

from api.fields import Json
from supervisor.contract.messages import (
    Answer,
    Body,
    EndpointList,
    GetHealth,
    Health,
    ListEndpoints,
    ListWorkers,
    WorkerList,
)

# An operator, or a health check, waits less patiently than the engine: these are answered from memory.
DEADLINE_SECONDS = 5.0

_TIMES = frozenset({"obtained", "renewed", "expires", "started"})

QUESTIONS: dict[str, Callable[[], Body]] = {
    "/healthz": GetHealth,
    "/v1/endpoints": ListEndpoints,
    "/v1/workers": ListWorkers,
}


def encode(answer: Answer) -> tuple[HTTPStatus, Json]:
    """Status and body for an answer to one of QUESTIONS; 503 tells a health check that the plugin is not well."""
    match answer:
        case Health():
            return HTTPStatus.OK if answer.healthy else HTTPStatus.SERVICE_UNAVAILABLE, _view(asdict(answer))
        case EndpointList(endpoints):
            return HTTPStatus.OK, {"endpoints": [_view(asdict(endpoint)) for endpoint in endpoints]}
        case WorkerList(workers):
            return HTTPStatus.OK, {"workers": [_view(asdict(worker)) for worker in workers]}
        case _:
            raise TypeError(f"{type(answer).__name__} is no answer to a question of the ops surface")


def _view(view: Json) -> Json:
    return {key: _value(key, value) for key, value in view.items()}


def _value(key: str, value: object) -> object:
    if key in _TIMES and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    if isinstance(value, dict):
        return _view(value)
    return str(value) if isinstance(value, IPv4Address) else value
