"""The ops surface: what operators ask of the plugin with `curl --unix-socket`.

Owns the paths, their parameters and the JSON form of the supervisor's views: the fields of the dataclasses under their
own names, addresses as strings (an interface is an address, too), times as ISO 8601 in UTC. Lists are asked for and
written page by page, so that the API never holds a long one. Must not know the plugin protocol.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from api.fields import Json
from api.query import Query
from supervisor.contract.client import Caller
from supervisor.contract.errors import RequestError
from supervisor.contract.messages import (
    EVENT_WAIT_SECONDS,
    PAGE_ROWS,
    Answer,
    Body,
    Cost,
    EndpointList,
    EndpointView,
    EventList,
    EventView,
    GetEndpoint,
    GetHealth,
    Health,
    HintView,
    Ipv6View,
    ListEndpoints,
    ListEvents,
    ListWorkers,
    WorkerList,
    WorkerView,
)

# An operator, or a health check, waits less patiently than the engine: these are answered from memory.
DEADLINE_SECONDS = 5.0

View = EndpointView | Ipv6View | EventView | WorkerView | Cost | Health | HintView
_T = TypeVar("_T", bound=Answer)
_PRECISIONS = {"obtained": "seconds", "renewed": "seconds", "expires": "seconds", "started": "seconds"}
_PRECISIONS |= {"time": "milliseconds"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in parts, of which the first has been made; more of them may fail with a RequestError."""

    parts: Iterator[bytes]
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Path:
    """How a path is answered, what parameters it takes, and how many of its answers may be under way at once.

    Each one that is under way keeps a thread until its client has read it; None is for what is short.
    """

    answer: Callable[[Caller, Query], Reply]
    parameters: tuple[str, ...] = ()
    at_once: int | None = None


def endpoint(client: Caller, name: str) -> Reply:
    """That of this id, or of this container."""
    return Reply(_whole(_view(_ask(client, GetEndpoint(name), EndpointView))))


def _health(client: Caller, _: Query) -> Reply:
    """503 tells a health check that the plugin is not well."""
    health = _ask(client, GetHealth(), Health)
    status = HTTPStatus.OK if health.healthy else HTTPStatus.SERVICE_UNAVAILABLE
    return Reply(_whole(_view(health)), status)


def _workers(client: Caller, _: Query) -> Reply:
    workers = _ask(client, ListWorkers(), WorkerList).workers
    return Reply(_whole({"workers": [_view(worker) for worker in workers]}))


def _endpoints(client: Caller, query: Query) -> Reply:
    question = ListEndpoints(
        query.text("network"),
        query.text("container"),
        query.text("phase"),
        query.text("lease_state"),
        query.text("after") or "",
    )
    return Reply(_begun(_array("endpoints", _endpoint_pages(client, question, query.number("limit", 1)))))


def _endpoint_pages(client: Caller, question: ListEndpoints, limit: int | None) -> Iterator[tuple[EndpointView, ...]]:
    """All that match, or the first `limit` of them."""
    while limit is None or limit > 0:
        size = PAGE_ROWS if limit is None else min(limit, PAGE_ROWS)
        page = _ask(client, replace(question, limit=size), EndpointList).endpoints
        yield page
        if len(page) < size:
            return
        question = replace(question, after=page[-1].endpoint_id)
        limit = None if limit is None else limit - size


def _events(client: Caller, query: Query) -> Reply:
    """From `since` on; without it all of them, or with `follow` those that come."""
    follow, since = query.flag("follow"), query.number("since", 0)
    question = ListEvents(since if follow else since or 0)
    lines = _event_lines(client, question, query.number("limit", 1), follow=follow)
    return Reply(_begun(_with_last_words(lines)), content_type="application/x-ndjson")


def _event_lines(client: Caller, question: ListEvents, limit: int | None, *, follow: bool) -> Iterator[bytes]:
    """One line for each event. An empty one where none came for a while: only so a client that has gone is noticed."""
    while limit is None or limit > 0:
        size = PAGE_ROWS if limit is None else min(limit, PAGE_ROWS)
        page = _ask(client, replace(question, limit=size), EventList, DEADLINE_SECONDS + EVENT_WAIT_SECONDS)
        lines = b"".join(json.dumps(_view(event)).encode() + b"\n" for event in page.events)
        yield lines or (b"\n" if question.wait else b"")
        if len(page.events) < size and not follow:
            return
        question = ListEvents(page.last, wait=follow)
        limit = None if limit is None else limit - len(page.events)


PATHS: dict[str, Path] = {
    "/healthz": Path(_health),
    "/v1/endpoints": Path(_endpoints, ("network", "container", "phase", "lease_state", "after", "limit"), at_once=8),
    "/v1/events": Path(_events, ("since", "follow", "limit"), at_once=8),
    "/v1/workers": Path(_workers, at_once=4),
}


def _ask(client: Caller, question: Body, kind: type[_T], deadline: float = DEADLINE_SECONDS) -> _T:
    answer = client.call(question, deadline)
    if not isinstance(answer, kind):
        raise TypeError(f"{type(answer).__name__} is no answer to {type(question).__name__}")
    return answer


def _whole(body: Json) -> Iterator[bytes]:
    return iter((json.dumps(body).encode(),))


def _begun(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same, but the first part is made now: a question that is refused has an error for its status."""
    return itertools.chain([next(parts)], parts)


def _with_last_words(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The same lines; a failure after the first one is a line, too, as the status has been sent by then."""
    yield next(lines)
    try:
        yield from lines
    except RequestError as error:
        yield json.dumps({"Err": str(error)}).encode() + b"\n"


def _array(name: str, pages: Iterator[tuple[EndpointView, ...]]) -> Iterator[bytes]:
    """`{name: [views]}`, a part for each page."""
    ahead, between = f'{{"{name}": [', ""
    for page in pages:
        views = ", ".join(json.dumps(_view(view)) for view in page)
        yield (ahead + (between if views else "") + views).encode()
        ahead, between = "", ", "
    yield b"]}"


def _view(view: View) -> Json:
    """Its fields; `asdict` would copy each address."""
    return {name: _value(name, getattr(view, name)) for name in type(view).__slots__}


def _value(key: str, value: object) -> object:
    if key in _PRECISIONS and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec=_PRECISIONS[key])
    if isinstance(value, Cost | HintView | Ipv6View):
        return _view(value)
    if isinstance(value, tuple):
        return [_value(key, item) for item in value]
    return str(value) if isinstance(value, IPv4Address | IPv6Address) else value
