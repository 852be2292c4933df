"""What both gunicorn or falcon and the docker SDK import, loaded before the API and the watcher are forked.

A page of memory that processes share is there once, until one of them writes into it.
"""

from importlib import import_module

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


def import_shared() -> None:
    """Before what the workers use is loaded: that lies closer together then, and a worker writes into fewer pages."""
    for name in MODULES:
        import_module(name)
