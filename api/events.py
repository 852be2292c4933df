"""The history of leases as a stream: a JSON object a line, or server-sent events for browsers.

Must not know HTTP beyond the forms of both.
"""

import json
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from api.answers import Reply, begun, json_of, with_last_words
from supervisor.contract.client import DEADLINE_SECONDS, Caller, ask
from supervisor.contract.errors import InvalidRequest, RequestError
from supervisor.contract.messages import EVENT_WAIT_SECONDS, PAGE_ROWS, EventView, ListEvents, Page

RETRY_MILLISECONDS = 2000  # after which a browser asks again
Wanted = Callable[[EventView], bool]


def of(endpoint: str | None, container: str | None) -> Wanted | None:
    """Whether an event is of the endpoint with this id, or the beginning of one, and of the container of this name."""
    if endpoint is None and container is None:
        return None
    return lambda event: (
        (endpoint is None or event.endpoint_id.startswith(endpoint))
        and (container is None or event.container == container)
    )


def as_lines(client: Caller, question: ListEvents, limit: int | None, wanted: Wanted | None, *, follow: bool) -> Reply:
    """A JSON object a line. An empty line where none came for a while: only so a client that has gone is noticed."""
    pages = _pages(client, question, limit, wanted, follow=follow)
    lines = (b"".join(map(_line, page)) or b"\n" * waited for page, waited in pages)
    return Reply(begun(with_last_words(lines)), content_type="application/x-ndjson")


def _line(event: EventView) -> bytes:
    return json.dumps(json_of(event)).encode() + b"\n"


def as_server_sent(client: Caller, since: int | None, wanted: Wanted | None) -> Reply:
    """Server-sent events, for ever. If the history has begun anew, an event `reset` says so, and what comes is new."""
    return Reply(begun(_sent(client, since, wanted)), content_type="text/event-stream")


def _sent(client: Caller, since: int | None, wanted: Wanted | None) -> Iterator[bytes]:
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    try:
        yield from _blocks(client, since, wanted)
    except InvalidRequest:  # no event has this id yet
        yield b"event: reset\ndata: {}\n\n"
        yield from _blocks(client, None, wanted)


def _blocks(client: Caller, since: int | None, wanted: Wanted | None) -> Iterator[bytes]:
    try:
        for page, _ in _pages(client, ListEvents(since), None, wanted, follow=True):
            yield b"".join(_block(event) for event in page) or b":\n\n"
    except InvalidRequest:
        raise
    except RequestError:
        return  # the client asks again, and is told then


def _block(event: EventView) -> bytes:
    """JSON has no line breaks in it, and the kind is a word of ours."""
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(json_of(event))}\n\n".encode()


def _pages(
    client: Caller, question: ListEvents, limit: int | None, wanted: Wanted | None, *, follow: bool
) -> Iterator[tuple[list[EventView], bool]]:
    """The wanted events of each page, until `limit` events have come, or to the end, or for ever.

    Beside it stands whether the page was waited for.
    """
    while limit is None or limit > 0:
        size = PAGE_ROWS if limit is None or wanted is not None else min(limit, PAGE_ROWS)
        question = replace(question, limit=size)
        page: Page[EventView] = ask(client, question, Page, DEADLINE_SECONDS + EVENT_WAIT_SECONDS)
        kept = [event for event in page.rows if wanted is None or wanted(event)][:limit]
        yield kept, question.wait
        if page.complete and not follow:
            return
        question = ListEvents(int(page.last), wait=follow)
        limit = None if limit is None else limit - len(kept)
