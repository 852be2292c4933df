"""gunicorn is imported without Python's `ssl`, and nobody else meets what stands in for that."""

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["ssl"] = None  # as in the plugin's root file system: its import fails
import urllib.request
import api.server
from api import notls
from gunicorn import sock
print(sock.ssl is notls, "ssl" in sys.modules, hasattr(urllib.request, "ssl"))
"""


def test_without_ssl() -> None:
    """It has the names, in its own modules only."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True", "False", "False"]


def test_with_ssl() -> None:
    """Where Python has the real one, gunicorn takes that."""
    program = "import api.server, ssl, gunicorn.sock; print(gunicorn.sock.ssl is ssl, 'SSLContext' in vars(ssl))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True", "True"]
