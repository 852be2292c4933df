"""The plugin's socket in the file system."""

import socket
import stat
from pathlib import Path

from supervisor.listener import listen


def _says_hello(path: Path, listener: socket.socket) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.connect(str(path))
        caller.sendall(b"hello")
        connection, _ = listener.accept()
        with connection:
            return connection.recv(16)


def test_a_fresh_system(tmp_path: Path) -> None:
    """The directories are made, the socket takes connections and only root may make one; nothing else is left."""
    path = tmp_path / "run" / "docker" / "plugins" / "net-dhcp.sock"
    with listen(path) as listener:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert _says_hello(path, listener) == b"hello"
        assert list(path.parent.iterdir()) == [path]


def test_stale_files(tmp_path: Path) -> None:
    """A socket of a plugin that was killed, also in the middle of this, is replaced."""
    path = tmp_path / "net-dhcp.sock"
    listen(path).close()
    path.rename(tmp_path / "net-dhcp.sock.new")
    listen(path).close()
    with listen(path) as listener:
        assert _says_hello(path, listener) == b"hello"
        assert list(tmp_path.iterdir()) == [path]
