"""The text of a container's resolv.conf: what the engine wrote into it, and the search list that a lease puts there.

The text also remembers what has to be known to undo that, in a comment: it lives exactly as long as the sandbox, and
the engine writes it anew at each start (from 29.1 on only if the change was undone). A container may write into it as
well, so it is hostile. Pure.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

EMBEDDED = "127.0.0.11"  # Docker's own resolver, in each sandbox of a network that users have made
NOTE = "# net-dhcp: "
SEARCH, SERVER = re.compile(r"(search|domain)\s"), re.compile(r"nameserver\s")
MAX_NAMES = 6  # of all: glibc before 2.26 reads no more,
MAX_LINE = 250  # and musl no line that is longer


class Note(Struct, frozen=True):
    """What this file was and is made of: the engine's lines of names to search, and each endpoint's names."""

    before: tuple[str, ...] = ()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def asks_embedded(text: str) -> bool:
    """Whether the container asks Docker's resolver and no other one."""
    return re.findall(r"^nameserver\s+(\S+)", text, re.MULTILINE) == [EMBEDDED]


def with_names(text: str, endpoint: str, names: Iterable[str]) -> str:
    """The text in which an endpoint's names are searched instead of those of the host."""
    note = _note(text)
    before = note.before if note.names else tuple(line for line in text.splitlines() if SEARCH.match(line))
    return _written(text, Note(before, {**note.names, endpoint: tuple(names)}))


def without(text: str, endpoint: str) -> str:
    """The text without an endpoint's names; as the engine wrote it, if no other endpoint has any."""
    note = _note(text)
    if endpoint not in note.names:
        return text
    rest = {other: names for other, names in note.names.items() if other != endpoint}
    return _written(text, Note(note.before, rest))


def _written(text: str, note: Note) -> str:
    """The names to search stand where the first line of names was, else before the first server."""
    lines = [line for line in text.splitlines() if not line.startswith(NOTE)]
    places = [at for key in (SEARCH, SERVER) for at, line in enumerate(lines) if key.match(line)]
    at = places[0] if places else 0
    head, tail = ([line for line in part if not SEARCH.match(line)] for part in (lines[:at], lines[at:]))
    lines = [*head, *(_line_of_names(note) if note.names else note.before), *tail]
    if note.names:
        kept = {"before": note.before, "names": note.names}
        lines.append(NOTE + json.dumps(kept))
    return "".join(f"{line}\n" for line in lines)


def _line_of_names(note: Note) -> list[str]:
    """Names of several endpoints in the order in which they came; without any, the engine's own lines."""
    line = "search"
    for name in list(dict.fromkeys(name for names in note.names.values() for name in names))[:MAX_NAMES]:
        if len(line) + 1 + len(name) <= MAX_LINE:
            line += f" {name}"
    return list(note.before) if line == "search" else [line]


def _note(text: str) -> Note:
    """What we have remembered in the text; nothing if there is nothing of that form."""
    line = next((line for line in text.splitlines() if line.startswith(NOTE)), None)
    try:
        kept = json.loads(line.removeprefix(NOTE)) if line else {}
        names = {str(endpoint): _words(listed) for endpoint, listed in kept.get("names", {}).items()}
        return Note(_words(kept.get("before", ())), names)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return Note()


def _words(listed: Any) -> tuple[str, ...]:  # noqa: ANN401  JSON
    """One line each, whatever a container has put there."""
    return tuple(" ".join(str(word).split()) for word in listed)
