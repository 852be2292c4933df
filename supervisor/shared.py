"""Memory that processes share: a page is there once for all that were forked, until one of them writes into it.

Python writes into an object whenever it is used, as it counts references, and the collector into each one that it looks
at. Both spare what is immortal here (PEP 683) and frozen.
"""

import ctypes
import gc
import sys
from importlib import import_module
from types import CodeType

# What both gunicorn or falcon and the docker SDK import.
MODULES = (
    "http.cookiejar",
    "http.cookies",
    "importlib.metadata",
    "importlib.resources",
    "mimetypes",
    "shlex",
    "unicodedata",
    "urllib.request",
)
IMMORTAL = 0xFFFFFFFF  # CPython 3.12 and 3.13, 64 bit: a count that nobody changes; elsewhere the objects stay mortal


def import_shared() -> None:
    """Before what the workers use is loaded: that lies closer together then, and a worker writes into fewer pages."""
    for name in MODULES:
        import_module(name)


def share_objects() -> None:
    """To be called before a fork, when all is imported: the objects of now are never counted, nor given back.

    Takes 50 ms at first; a second call only looks at what has come since.
    """
    gc.collect()
    if _immortals_are_known():
        _make_immortal()
    gc.freeze()


def _immortals_are_known() -> bool:
    """This rests on how CPython lays out an object, so it is looked at first."""
    mortal = object()
    counted = _count(id(mortal)).value == sys.getrefcount(mortal) - 1
    return counted and _count(id(None)).value == sys.getrefcount(None) == IMMORTAL


def _make_immortal() -> None:
    new: dict[int, object] = {id(thing): thing for thing in gc.get_objects()}  # without those that are frozen
    while new:
        for address in new:
            _count(address).value = IMMORTAL
        constants = [thing.co_consts for thing in new.values() if type(thing) is CodeType]  # the collector skips those
        referred = (*gc.get_referents(*new.values()), *constants)
        new = {id(thing): thing for thing in referred if _count(id(thing)).value != IMMORTAL}


def _count(address: int) -> ctypes.c_ssize_t:
    """The count of references of the object there."""
    return ctypes.c_ssize_t.from_address(address)
