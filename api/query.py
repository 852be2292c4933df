"""The parameters of a question, read with checks: every refusal names the parameter.

Must not know which parameters there are: those are its callers'.
"""

import reprlib
from collections.abc import Collection, Mapping

from supervisor.contract.errors import InvalidRequest

_TRUTH = {"true": True, "1": True, "false": False, "0": False}


class Query:
    """What stands behind the `?` of a path, where only the `known` names may stand, each once."""

    def __init__(self, given: Mapping[str, str | list[str]], known: Collection[str]) -> None:
        self._values: dict[str, str] = {}
        for name, value in given.items():
            if name not in known:
                allowed = f"known are {', '.join(known)}" if known else "there are none here"
                raise InvalidRequest(f"unknown parameter {reprlib.repr(name)}; {allowed}")
            if not isinstance(value, str):
                raise InvalidRequest(f"{name} must be given once")
            self._values[name] = value

    def text(self, name: str) -> str | None:
        """Printable and not empty; None where it is absent."""
        value = self._values.get(name)
        if value is not None and not (value and value.isprintable()):
            raise self._refused(name, "a non-empty string of printable characters")
        return value

    def number(self, name: str, lower: int) -> int | None:
        """At least `lower`, and one that SQLite can hold."""
        value = self._values.get(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdecimal() and len(value) <= 18 and int(value) >= lower):
            raise self._refused(name, f"a whole number from {lower}")
        return int(value)

    def flag(self, name: str) -> bool:
        """False where it is absent."""
        value = self._values.get(name)
        if value is None:
            return False
        if value not in _TRUTH:
            raise self._refused(name, "true or false")
        return _TRUTH[value]

    def _refused(self, name: str, expected: str) -> InvalidRequest:
        return InvalidRequest(f"{name} must be {expected}, got {reprlib.repr(self._values[name])}")
