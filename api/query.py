"""The parameters of a question, read with checks: every refusal names the parameter.

Must not know which parameters there are: those are its callers'.
"""

import re
import reprlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address

from supervisor.contract.errors import InvalidRequest

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
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

    def address(self, name: str) -> str | None:
        """An IP address in its usual form."""
        value = self._values.get(name)
        try:
            return None if value is None else str(ip_address(value))
        except ValueError:
            raise self._refused(name, "an IP address") from None

    def mac(self, name: str) -> str | None:
        """A MAC address in its usual form; hyphens do as well."""
        value = self._values.get(name)
        if value is None:
            return None
        mac = value.lower().replace("-", ":")
        if not _MAC.fullmatch(mac):
            raise self._refused(name, "a MAC address such as 02:00:00:00:00:01")
        return mac

    def time(self, name: str) -> float | None:
        """A Unix time, of an ISO 8601 text that is in UTC where it does not say otherwise."""
        value = self._values.get(name)
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            expected = "a time such as 2026-11-24T10:00:00Z or 2026-11-24, in which + is written as %2B"
            raise self._refused(name, expected) from None

    def _refused(self, name: str, expected: str) -> InvalidRequest:
        return InvalidRequest(f"{name} must be {expected}, got {reprlib.repr(self._values[name])}")
