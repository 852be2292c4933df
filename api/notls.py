"""The names of `ssl` that gunicorn takes when it is imported. Nobody speaks TLS over the plugin's socket.

The plugin's Python has no `ssl`: with OpenSSL the plugin takes 62 MB instead of 56. Other modules do without it by
themselves, and so must not take this module for the real one.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

CERT_NONE = 0
PROTOCOL_SSLv23 = 2
SSL_ERROR_EOF = 8


class SSLError(OSError):
    """Never raised."""


class SSLWantReadError(SSLError):
    """Never raised."""


@contextmanager
def ssl_stands_in() -> Iterator[None]:
    """While gunicorn is imported: this module is its `ssl`, where Python has none."""
    if find_spec("ssl"):
        yield
        return
    sys.modules["ssl"] = sys.modules[__name__]
    try:
        yield
    finally:
        del sys.modules["ssl"]
