"""The ops surface: what operators ask of the plugin with `curl --unix-socket`.

Owns the JSON form of the supervisor's views: the fields of the dataclasses under their own names, addresses as
strings, times as ISO 8601 in UTC. Must not know the plugin protocol.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus

from api.fields import Json
from supervisor.messages import Answer, Body, EndpointList, GetHealth, Health, ListEndpoints, ListWorkers, WorkerList

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
            return HTTPStatus.OK if answer.healthy else HTTPStatus.SERVICE_UNAVAILABLE, _plain(asdict(answer))
        case EndpointList(endpoints):
            return HTTPStatus.OK, {"endpoints": [_plain(asdict(endpoint)) for endpoint in endpoints]}
        case WorkerList(workers):
            return HTTPStatus.OK, {"workers": [_plain(asdict(worker)) for worker in workers]}
        case _:
            raise TypeError(f"{type(answer).__name__} is no answer to a question of the ops surface")


def _plain(view: Json) -> Json:
    return {key: _plain_value(key, value) for key, value in view.items()}


def _plain_value(key: str, value: object) -> object:
    if isinstance(value, float) and key in _TIMES:
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    if value is None or isinstance(value, bool | int | float | str | list | tuple):
        return value
    return str(value)
