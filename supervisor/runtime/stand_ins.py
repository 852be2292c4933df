"""Modules that falcon, gunicorn and prometheus_client import for what nobody asks of the plugin: TLS, coroutines, XML.

They would cost 6 MB for OpenSSL, which the plugin's Python does not even have, and 1.8 MB for the others. Other modules
do without `ssl` by themselves, and so must not take a stand-in for the real one.
"""

import sys
import xml.etree  # noqa: F401  # the package of one of them
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

VALUES: dict[str, dict[str, object]] = {
    "ssl": {"CERT_NONE": 0, "PROTOCOL_SSLv23": 2},  # gunicorn's defaults
    "asyncio": {},
    "xml.etree.ElementTree": {},
}


class Unused(OSError):
    """Whatever else is taken from them: an error that is never raised, a function that is never called."""


class StandIn(ModuleType):
    """Has every name that is asked for."""

    def __getattr__(self, name: str) -> type[Unused]:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unused


@contextmanager
def stand_ins() -> Iterator[None]:
    """Stands in, while others are imported, for those of the modules that are not loaded yet."""
    absent = VALUES.keys() - sys.modules.keys()
    for name in absent:
        sys.modules[name] = StandIn(name)
        vars(sys.modules[name]).update(VALUES[name])
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
