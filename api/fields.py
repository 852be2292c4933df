"""JSON objects read with checks: every refusal names the field, what was expected and what was seen.

Owns the step from bytes to checked values. Must not know which fields there are: those are its callers'.
"""

import json
import reprlib
from dataclasses import dataclass

from supervisor.contract.errors import InvalidRequest

Json = dict[str, object]

_TYPE_NAMES = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_REPR = reprlib.Repr()
_REPR.maxstring = 80


def seen(value: object) -> str:
    """A value of a request for an error text: its JSON type and a shortened, printable form."""
    return f"{_TYPE_NAMES[type(value)]} {_REPR.repr(value)}"


def decode(body: bytes) -> "Fields":
    """The object that is the whole of `body`; raises InvalidRequest for anything else."""
    try:
        value = json.loads(body.decode())
    except RecursionError:
        raise InvalidRequest("the request's body is nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise InvalidRequest(f"the request's body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"the request's body must be a JSON object, got {seen(value)}")
    return Fields(value)


@dataclass(frozen=True, slots=True)
class Fields:
    """One object of a request; `path` leads error texts to it. An absent field and a null are the same."""

    values: Json
    path: str = ""

    def name(self, key: str) -> str:
        """The full name of a field, shortened as its key may come from outside."""
        return _REPR.repr(f"{self.path}{key}")[1:-1]

    def refused(self, key: str, expected: str) -> InvalidRequest:
        """The error for a field whose value is not as expected."""
        return InvalidRequest(f"{self.name(key)} must be {expected}, got {seen(self.values.get(key))}")

    def text(self, key: str) -> str | None:
        """A printable string; absent, null and "" are None."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.isprintable():
            raise self.refused(key, "a string of printable characters")
        return value or None

    def required_text(self, key: str) -> str:
        """As `text`, for a field without which the request makes no sense."""
        value = self.text(key)
        if value is None:
            raise self.refused(key, "a non-empty string")
        return value

    def number(self, key: str, upper: int) -> int:
        """An integer from 0 to `upper`."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= upper:
            raise self.refused(key, f"an integer from 0 to {upper}")
        return value

    def fields(self, key: str) -> "Fields":
        """An object, empty when absent."""
        value = self.values.get(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.refused(key, "an object")
        return Fields(value, f"{self.path}{key}.")

    def items(self, key: str) -> "tuple[Fields, ...]":
        """An array of objects, empty when absent."""
        value = self.values.get(key)
        if value is None:
            value = []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.refused(key, "an array of objects")
        return tuple(Fields(item, f"{self.path}{key}[{index}].") for index, item in enumerate(value))

    def texts(self, ignored_prefix: str | None = None) -> dict[str, str]:
        """All fields as strings, "" included, but those whose key begins with `ignored_prefix`."""
        kept = [key for key in self.values if ignored_prefix is None or not key.startswith(ignored_prefix)]
        for key in kept:
            if not key.isprintable():
                raise InvalidRequest(f"the name of {self.name(key)} must be of printable characters")
            if self.values[key] is None:
                raise self.refused(key, "a string")
        return {key: self.text(key) or "" for key in kept}
