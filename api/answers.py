"""The JSON form of the supervisor's views, whole or in parts.

The fields of the messages stand under their own names, addresses as strings (an interface is an address, too), times
as ISO 8601 in UTC. Must not know which questions there are.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address

from api.fields import Json
from supervisor.contract.errors import RequestError
from supervisor.contract.messages import View

PRECISIONS = dict.fromkeys(("obtained", "renewed", "expires", "started", "created"), "seconds")
PRECISIONS |= dict.fromkeys(("time", "begin", "end"), "milliseconds")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in parts, of which the first has been made; more of them may fail with a RequestError."""

    parts: Iterator[bytes]
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "application/json"
    encoding: str | None = None


def whole(view: View, status: HTTPStatus = HTTPStatus.OK) -> Reply:
    """A short answer."""
    return Reply(iter((json.dumps(json_of(view)).encode(),)), status)


def array(name: str, pages: Iterator[Iterable[View]]) -> Reply:
    """`{name: [views]}`, a part for each page."""
    return Reply(begun(_array(name, pages)))


def begun(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same, but the first part is made now: a question that is refused has an error for its status."""
    return itertools.chain([next(parts)], parts)


def with_last_words(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The same lines; a failure after the first one is a line, too, as the status has been sent by then."""
    yield next(lines)
    try:
        yield from lines
    except RequestError as error:
        yield json.dumps({"Err": str(error)}).encode() + b"\n"


def json_of(view: View) -> Json:
    """Its fields."""
    return {name: _value(name, getattr(view, name)) for name in view.__struct_fields__}


def _array(name: str, pages: Iterator[Iterable[View]]) -> Iterator[bytes]:
    ahead, between = f'{{"{name}": [', ""
    for page in pages:
        views = ", ".join(json.dumps(json_of(view)) for view in page)
        yield (ahead + (between if views else "") + views).encode()
        ahead, between = "", between if not views else ", "
    yield b"]}"


def _value(key: str, value: object) -> object:
    if key in PRECISIONS and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec=PRECISIONS[key])
    if isinstance(value, View):
        return json_of(value)
    if isinstance(value, tuple):
        return [_value(key, item) for item in value]
    return str(value) if isinstance(value, IPv4Address | IPv6Address) else value
