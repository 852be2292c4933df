"""The recordings of tests/protocol, one a file for each engine, and whether a request has a shape that they have.

A request's shape is its keys with the form of each value. What users choose has none: their options, and which of the
engine's options with a list have something in it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).resolve().parents[1] / "protocol"
ENGINES_OWN = "com.docker.network."
USERS = f"{ENGINES_OWN}generic"  # options of a network
# What no version must know, in this order.
FORMS = {
    "nothing": r"",
    "id": r"[0-9a-f]{64}",
    "MAC address": r"[0-9a-f]{2}(:[0-9a-f]{2}){5}",
    "MAC address in base64": r"[0-9A-Za-z+/]{8}",
    "IPv4 address": r"[\d.]+",
    "IPv4 address with length": r"[\d.]+/\d+",
    "IPv6 address with length": r"[0-9a-f]*:[0-9a-f:]*/\d+",
    "sandbox": r"(/[^/]+)*/netns/[^/]+",  # the folder depends on dockerd's --exec-root
    "text": r".*",
}

Shape = object  # made of tuples and frozen sets, so that it is in a set


def recordings() -> list[Path]:
    """All of them, the oldest engine's first."""
    return sorted(DIRECTORY.glob("*.jsonl"))


def recorded(path: Path) -> list[dict[str, Any]]:
    """The calls of one recording; its other lines name the steps."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if "path" in line]


def difference(engine: str, method: str, request: Mapping[str, object]) -> str | None:
    """Why the engine of this version would not send this; None if it would."""
    shapes, elements = _recorded_shapes(engine, method)
    shape = _shape(request)
    if shape not in shapes:
        return f"Docker {engine} sends {method} as one of {sorted(map(str, shapes))}, and not as {shape}"
    unknown = set(_elements(request)) - elements
    return f"Docker {engine} sends no such list in {method}: {unknown}" if unknown else None


@cache
def _recorded_shapes(engine: str, method: str) -> tuple[frozenset[Shape], frozenset[Shape]]:
    """Of the requests, and of their lists' elements."""
    path = DIRECTORY / f"docker-{engine}.jsonl"
    requests = [call["request"] for call in recorded(path) if call["path"].endswith(f".{method}")]
    shapes = frozenset(_shape(request) for request in requests)
    return shapes, frozenset(element for request in requests for element in _elements(request))


def _shape(value: object, key: str = "") -> Shape:
    match value:
        case dict():
            if key == USERS:
                return "users"
            kept = {name: one for name, one in value.items() if key != "Options" or name.startswith(ENGINES_OWN)}
            return frozenset((name, _shape(one, name)) for name, one in kept.items())
        case list():
            return "list"
        case str():
            return next(name for name, pattern in FORMS.items() if re.fullmatch(pattern, value))
        case _:
            return type(value).__name__


def _elements(value: object, key: str = "") -> Iterator[Shape]:
    """Of each list in it, with the list's key."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _elements(one, name)
    elif isinstance(value, list):
        yield from ((key, _shape(one)) for one in value)
