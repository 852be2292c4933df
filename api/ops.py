"""The ops surface: what operators ask of the plugin with `curl --unix-socket`, or of the ops service.

Owns the paths and their parameters. Lists are asked for and written page by page, so that the API never holds a long
one. Must not know the plugin protocol.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import BinaryIO

from api import events
from api.answers import Reply, array, whole
from api.asking import ask
from api.query import Query
from supervisor.contract.client import Caller
from supervisor.contract.errors import InvalidRequest, NotFound
from supervisor.contract.messages import (
    PAGE_ROWS,
    CheckList,
    EndpointDetail,
    EndpointList,
    EndpointView,
    GetChecks,
    GetEndpoint,
    GetHealth,
    GetMetrics,
    GetReadiness,
    Health,
    LeaseList,
    LeaseView,
    ListEndpoints,
    ListEvents,
    ListLeases,
    ListNetworks,
    ListWorkers,
    Metrics,
    NetworkList,
    NetworkView,
    Readiness,
    WorkerList,
)

CHECKS_SECONDS = 8.0  # a job looks at the parents
METRICS_SECONDS = 12.0  # a job makes the text
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GZIP_FORMAT = 16  # zlib's word for it
PART_BYTES = 1 << 16
COMMAND = FilePath("/usr/share/net-dhcp/docker-dhcp")

Headers = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Path:
    """How a path is answered, what parameters it takes, and how many of its answers may be under way at once.

    Each one that is under way keeps a thread until its client has read it; None is for short answers.
    """

    answer: Callable[[Caller, Query, Headers], Reply]
    parameters: tuple[str, ...] = ()
    at_once: int | None = None


def endpoint(client: Caller, name: str) -> Reply:
    """That of this id, or of this container."""
    return whole(ask(client, GetEndpoint(name), EndpointDetail))


def _health(client: Caller, _query: Query, _headers: Headers) -> Reply:
    """503 tells a health check that the plugin is not well."""
    health = ask(client, GetHealth(), Health)
    return whole(health, HTTPStatus.OK if health.healthy else HTTPStatus.SERVICE_UNAVAILABLE)


def _readiness(client: Caller, _query: Query, _headers: Headers) -> Reply:
    """503 as well, so that a client which waits for the plugin goes on waiting."""
    readiness = ask(client, GetReadiness(), Readiness)
    return whole(readiness, HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE)


def _checks(client: Caller, query: Query, _headers: Headers) -> Reply:
    return whole(ask(client, GetChecks(query.text("network")), CheckList, CHECKS_SECONDS))


def _metrics(client: Caller, _query: Query, headers: Headers) -> Reply:
    """As it comes from the supervisor if the client takes gzip, as Prometheus does."""
    text = ask(client, GetMetrics(), Metrics, METRICS_SECONDS).text
    if "gzip" in (headers("Accept-Encoding") or ""):
        return Reply(iter((text,)), content_type=METRICS_TYPE, encoding="gzip")
    return Reply(_unpacked(text), content_type=METRICS_TYPE)


def _unpacked(text: bytes) -> Iterator[bytes]:
    """In small parts: the whole may be megabytes."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | GZIP_FORMAT)
    while text:
        yield unpacker.decompress(text, PART_BYTES)
        text = unpacker.unconsumed_tail


def _command(_client: Caller, _query: Query, _headers: Headers) -> Reply:
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


def _workers(client: Caller, _query: Query, _headers: Headers) -> Reply:
    return whole(ask(client, ListWorkers(), WorkerList))


def _endpoints(client: Caller, query: Query, _headers: Headers) -> Reply:
    question = ListEndpoints(
        query.text("network"),
        query.text("container"),
        query.text("phase"),
        query.text("lease_state"),
        query.text("after") or "",
    )
    return array("endpoints", _endpoint_pages(client, question, query.number("limit", 1)))


def _endpoint_pages(client: Caller, question: ListEndpoints, limit: int | None) -> Iterator[tuple[EndpointView, ...]]:
    """All that match, or the first `limit` of them."""
    while limit is None or limit > 0:
        size = PAGE_ROWS if limit is None else min(limit, PAGE_ROWS)
        page = ask(client, replace(question, limit=size), EndpointList).endpoints
        yield page
        if len(page) < size:
            return
        question = replace(question, after=page[-1].endpoint_id)
        limit = None if limit is None else limit - size


def _networks(client: Caller, query: Query, _headers: Headers) -> Reply:
    return array("networks", _network_pages(client, query.text("after") or "", query.number("limit", 1)))


def _network_pages(client: Caller, after: str, limit: int | None) -> Iterator[tuple[NetworkView, ...]]:
    while limit is None or limit > 0:
        size = PAGE_ROWS if limit is None else min(limit, PAGE_ROWS)
        page = ask(client, ListNetworks(after, size), NetworkList).networks
        yield page
        if len(page) < size:
            return
        after = page[-1].network_id
        limit = None if limit is None else limit - size


def _leases(client: Caller, query: Query, _headers: Headers) -> Reply:
    at, since, until = (query.time(name) for name in ("at", "since", "until"))
    if at is not None and (since is not None or until is not None):
        raise InvalidRequest("at is one moment: leave since and until out")
    question = ListLeases(
        query.mac("mac"),
        query.address("address"),
        query.text("container"),
        query.text("network"),
        since if at is None else at,
        until if at is None else at,
        query.number("after", 0) or 0,
    )
    return array("leases", _lease_pages(client, question, query.number("limit", 1)))


def _lease_pages(client: Caller, question: ListLeases, limit: int | None) -> Iterator[tuple[LeaseView, ...]]:
    """A page may be empty, where of many rows none was asked for."""
    while limit is None or limit > 0:
        size = PAGE_ROWS if limit is None else min(limit, PAGE_ROWS)
        page = ask(client, replace(question, limit=size), LeaseList)
        yield page.leases
        if page.complete:
            return
        question = replace(question, after=page.last)
        limit = None if limit is None else limit - len(page.leases)


def _events(client: Caller, query: Query, headers: Headers) -> Reply:
    """From `since` on; without it all of them, or with `follow` those that come. Browsers ask for a stream."""
    follow, since = query.flag("follow"), query.number("since", 0)
    wanted = events.of(query.text("endpoint"), query.text("container"))
    if "text/event-stream" in (headers("Accept") or ""):
        last = headers("Last-Event-ID") or ""
        return events.as_server_sent(client, int(last) if _is_id(last) else since, wanted)
    question = ListEvents(since if follow else since or 0)
    return events.as_lines(client, question, query.number("limit", 1), wanted, follow=follow)


def _is_id(text: str) -> bool:
    """A browser sends the last id that it has seen; any other text counts as absent."""
    return text.isascii() and text.isdecimal() and len(text) <= 18


PATHS: dict[str, Path] = {
    "/cli": Path(_command, at_once=4),
    "/healthz": Path(_health),
    "/metrics": Path(_metrics, at_once=4),
    "/readyz": Path(_readiness),
    "/v1/checks": Path(_checks, ("network",), at_once=4),
    "/v1/endpoints": Path(_endpoints, ("network", "container", "phase", "lease_state", "after", "limit"), at_once=8),
    "/v1/events": Path(_events, ("since", "follow", "limit", "endpoint", "container"), at_once=8),
    "/v1/leases": Path(
        _leases, ("mac", "address", "container", "network", "at", "since", "until", "after", "limit"), at_once=4
    ),
    "/v1/networks": Path(_networks, ("after", "limit"), at_once=4),
    "/v1/workers": Path(_workers, at_once=4),
}
