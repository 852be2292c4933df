"""Memory that processes share: a page is there once for all that were forked, until one of them writes into it.

Python writes into an object whenever it is used, as it counts references, and the collector into each one that it looks
at. Both spare what is immortal here (PEP 683) and frozen. Without immortal objects and filled gaps the plugin takes
69 MB and 1.1 MB a container instead of 56 and 0.66.
"""

import ctypes
import gc
import sys
from importlib import import_module
from types import CodeType

from workers.system.libc import LIBC

# What both gunicorn or falcon and the docker SDK import, 3 MB.
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
# Python has pools of memory for objects of one size each: a multiple of STEP, up to LARGEST. Bytes take SMALLEST.
POOL, STEP, SMALLEST, LARGEST = 1 << 14, 16, 48, 512
MOST_GAPS = 10_000  # of one size; ten times as many as there are
_fillers: list[bytes] = []


def import_shared() -> None:
    """Before what the workers use is loaded: that lies closer together then, and a worker writes into fewer pages."""
    for name in MODULES:
        import_module(name)


def share_objects() -> None:
    """To be called before a fork, when all is imported: the objects of now are never counted, nor given back.

    Takes 30 ms at first; a second call only looks at what has come since.
    """
    gc.collect()
    if _immortals_are_known():
        _make_immortal()
    _fill_gaps()
    gc.freeze()
    give_back()  # a free page would be copied before it is used


def give_back() -> None:
    """Gives memory that is not needed any more back to the kernel, as far as it can."""
    gc.collect()
    LIBC.malloc_trim(0)


def _immortals_are_known() -> bool:
    """This rests on how CPython lays out an object, so it is looked at first."""
    mortal = object()
    counted = _count(id(mortal)).value == sys.getrefcount(mortal) - 1
    return counted and _count(id(None)).value == sys.getrefcount(None) == IMMORTAL


def _make_immortal() -> None:
    todo = gc.get_objects()  # without those that are frozen
    while todo:
        thing = todo.pop()
        if sys.getrefcount(thing) != IMMORTAL:
            _count(id(thing)).value = IMMORTAL
            todo += gc.get_referents(thing)
            if type(thing) is CodeType:
                todo.append(thing.co_consts)  # the collector skips those


def _fill_gaps() -> None:
    """New objects come into the gaps between old ones, and a process that writes there gets a copy of the page.

    So they are filled, until a new pool is taken and filled as well: that one is given back.
    """
    for size in range(SMALLEST, LARGEST + 1, STEP):
        pool = 0
        inside: list[bytes] = []
        for _ in range(MOST_GAPS):
            filler = bytes(size - sys.getsizeof(b""))
            if id(filler) // POOL != pool:
                _fillers.extend(inside)
                pool, inside = id(filler) // POOL, []
            inside.append(filler)
            if len(inside) == POOL // size - 1:
                break


def _count(address: int) -> ctypes.c_ssize_t:
    """The count of references of the object there."""
    return ctypes.c_ssize_t.from_address(address)
