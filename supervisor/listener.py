"""The plugin's listening socket. Owns its place in the file system; must not read from it.

It is bound before anything heavy is imported: dockerd dials half a second after exec, disables a plugin for good that
does not listen after some 9.5 s, and what connects early waits in the backlog.
"""

import socket
from pathlib import Path

BACKLOG = 512  # more than a boot's containers; connections wait here while the API is restarted


def listen(path: Path) -> socket.socket:
    """A listening unix stream socket at `path`, mode 0600; a stale file is removed, the directory made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    listener.bind(str(temporary))
    temporary.chmod(0o600)
    listener.listen(BACKLOG)
    temporary.rename(path)  # so that no connection comes before the mode is right
    return listener
