"""falcon and gunicorn do without what costs memory for nothing, and nobody else meets what stands in for it."""

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["ssl"] = None  # as in the plugin's root file system: its import fails
import urllib.request
del sys.modules["ssl"]
import api.server, api.tcp_server
from supervisor.runtime.stand_ins import VALUES, StandIn
from falcon import http_error
from falcon.util import sync
from gunicorn import sock
print({type(module) for module in (sock.ssl, sync.asyncio, http_error.et)} == {StandIn})
print(VALUES.keys() & sys.modules.keys(), hasattr(urllib.request, "ssl"))
import asyncio, xml.etree.ElementTree
print(asyncio.run(asyncio.sleep(0, "real")), xml.etree.ElementTree.Element("real").tag)
"""


def test_stand_ins() -> None:
    """They are in the modules of falcon and gunicorn alone."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == ["True", "set() False", "real real"]


def test_what_is_loaded_stays() -> None:
    """Where Python has loaded the real one, gunicorn takes that."""
    program = "import ssl, api.server, gunicorn.sock; print(gunicorn.sock.ssl is ssl, 'SSLContext' in vars(ssl))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True", "True"]
