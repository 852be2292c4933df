"""The ops surface: what operators ask of the plugin with `curl --unix-socket`, or of the ops service.

Owns the paths of questions, their parameters and the description of both. Lists are asked for and written page by page,
so that the API never holds a long one. Must not know the plugin protocol.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Any, BinaryIO

from msgspec.structs import replace

from api import events
from api.answers import Reply, array, whole
from api.query import Query
from supervisor.contract import messages as m
from supervisor.contract.client import Caller, ask
from supervisor.contract.errors import InvalidRequest, NotFound

CHECKS_SECONDS = 8.0  # a job looks at the parents
METRICS_SECONDS = 12.0  # a job makes the text
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GZIP_FORMAT = 16  # zlib's word for it
PART_BYTES = 1 << 16
COMMAND = FilePath("/usr/share/net-dhcp/docker-dhcp")


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: its parameters, its headers by their names, and the name in its path if there is one."""

    client: Caller
    query: Query
    header: Callable[[str], str | None]
    name: str


@dataclass(frozen=True, slots=True)
class Path:
    """How a path is answered, what parameters it takes, and how many of its answers may be under way at once.

    Each one that is under way keeps a thread until its client has read it; None is for short answers. `content` is the
    type of the answer by its media type, or that of a JSON answer; a tuple stands for a list (api.openapi).
    """

    summary: str
    answer: Callable[[Asked], Reply]
    content: Any
    parameters: tuple[str, ...] = ()
    at_once: int | None = None


def _health(asked: Asked) -> Reply:
    """503 tells a health check that the plugin is not well."""
    health = ask(asked.client, m.GetHealth(), m.Health)
    return whole(health, HTTPStatus.OK if health.healthy else HTTPStatus.SERVICE_UNAVAILABLE)


def _readiness(asked: Asked) -> Reply:
    """503 as well, so that a client which waits for the plugin goes on waiting."""
    readiness = ask(asked.client, m.GetReadiness(), m.Readiness)
    return whole(readiness, HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE)


def _checks(asked: Asked) -> Reply:
    return whole(ask(asked.client, m.GetChecks(asked.query.text("network")), m.CheckList, CHECKS_SECONDS))


def _metrics(asked: Asked) -> Reply:
    """Passes the supervisor's text on as it is if the client takes gzip, as Prometheus does."""
    text = ask(asked.client, m.GetMetrics(), m.Metrics, METRICS_SECONDS).text
    if "gzip" in (asked.header("Accept-Encoding") or ""):
        return Reply(iter((text,)), content_type=METRICS_TYPE, encoding="gzip")
    return Reply(_unpacked(text), content_type=METRICS_TYPE)


def _unpacked(text: bytes) -> Iterator[bytes]:
    """The text in small parts: the whole may be megabytes."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | GZIP_FORMAT)
    while text:
        yield unpacker.decompress(text, PART_BYTES)
        text = unpacker.unconsumed_tail


def _command(_asked: Asked) -> Reply:
    """The command `docker dhcp` of this version: one file, which the plugin's image has."""
    try:
        file = COMMAND.open("rb")
    except OSError:
        raise NotFound("this build of the plugin does not have the command; take it from the release") from None
    return Reply(_read(file), content_type="application/octet-stream")


def _read(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while part := file.read(PART_BYTES):
            yield part


def _workers(asked: Asked) -> Reply:
    return whole(ask(asked.client, m.ListWorkers(), m.WorkerList))


def _endpoint(asked: Asked) -> Reply:
    return whole(ask(asked.client, m.GetEndpoint(asked.name), m.EndpointDetail))


def _endpoints(asked: Asked) -> Reply:
    text = asked.query.text
    after = text("after") or ""
    filters = m.ListEndpoints(text("network"), text("container"), text("phase"), text("lease_state"), after)
    return _list("endpoints", asked, filters)


def _networks(asked: Asked) -> Reply:
    return _list("networks", asked, m.ListNetworks(asked.query.text("after") or ""))


def _leases(asked: Asked) -> Reply:
    query = asked.query
    at, since, until = (query.time(name) for name in ("at", "since", "until"))
    if at is not None and (since is not None or until is not None):
        raise InvalidRequest("at is one moment: leave since and until out")
    question = m.ListLeases(
        query.mac("mac"),
        query.address("address"),
        query.text("container"),
        query.text("network"),
        since if at is None else at,
        until if at is None else at,
        query.number("after", 0) or 0,
    )
    return _list("leases", asked, question)


def _list(name: str, asked: Asked, question: m.ListEndpoints | m.ListNetworks | m.ListLeases) -> Reply:
    return array(name, _pages(asked.client, question, asked.query.number("limit", 1)))


def _pages(
    client: Caller, question: m.ListEndpoints | m.ListNetworks | m.ListLeases, limit: int | None
) -> Iterator[tuple[m.View, ...]]:
    """All that match, or the first `limit` of them. A page may be empty and not be the last one."""
    after: Any = question.after
    while limit is None or limit > 0:
        size = m.PAGE_ROWS if limit is None else min(limit, m.PAGE_ROWS)
        page = ask(client, replace(question, after=after, limit=size), m.Page)
        yield page.rows
        if page.complete:
            return
        after = page.last
        limit = None if limit is None else limit - len(page.rows)


def _events(asked: Asked) -> Reply:
    """Events from `since` on; without it all, or with `follow` those to come. Browsers ask for a stream."""
    query, client = asked.query, asked.client
    follow, since = query.flag("follow"), query.number("since", 0)
    wanted = events.of(query.text("endpoint"), query.text("container"))
    if "text/event-stream" in (asked.header("Accept") or ""):
        last = asked.header("Last-Event-ID") or ""
        return events.as_server_sent(client, int(last) if _is_id(last) else since, wanted)
    question = m.ListEvents(since if follow else since or 0)
    return events.as_lines(client, question, query.number("limit", 1), wanted, follow=follow)


def _is_id(text: str) -> bool:
    """A browser sends the last id that it has seen; any other text counts as absent."""
    return text.isascii() and text.isdecimal() and len(text) <= 18


PATHS: dict[str, Path] = {
    "/cli": Path(
        "The command docker-dhcp that fits this version", _command, {"application/octet-stream": str}, at_once=4
    ),
    "/healthz": Path("Is the plugin well?", _health, m.Health),
    "/metrics": Path("The numbers that Prometheus scrapes", _metrics, {"text/plain": str}, at_once=4),
    "/readyz": Path("Would a container that is started now get its lease?", _readiness, m.Readiness),
    "/v1/checks": Path(
        "What a look at the networks' parents and containers finds now", _checks, m.CheckList, ("network",), at_once=4
    ),
    "/v1/endpoints": Path(
        "Containers, their leases and their workers",
        _endpoints,
        tuple[m.EndpointView, ...],
        ("network", "container", "phase", "lease_state", "after", "limit"),
        at_once=8,
    ),
    "/v1/endpoints/{name}": Path("One endpoint, by its id or its container's name or id", _endpoint, m.EndpointDetail),
    "/v1/events": Path(
        "What happened to leases",
        _events,
        {"application/x-ndjson": m.EventView, "text/event-stream": str},
        ("since", "follow", "limit", "endpoint", "container"),
        at_once=8,
    ),
    "/v1/leases": Path(
        "Who held which address, and when",
        _leases,
        tuple[m.LeaseView, ...],
        ("mac", "address", "container", "network", "at", "since", "until", "after", "limit"),
        at_once=4,
    ),
    "/v1/networks": Path(
        "The networks of this plugin", _networks, tuple[m.NetworkView, ...], ("after", "limit"), at_once=4
    ),
    "/v1/workers": Path("The processes of the plugin and what they cost", _workers, m.WorkerList, at_once=4),
}
