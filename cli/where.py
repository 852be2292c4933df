"""Finds the engine that is meant, as the docker command does, and the sockets of its plugins.

A plugin's socket is a file of this machine, so the engine has to be here, too. Two engines of one machine have two
directories of plugins: each lies beside its engine's socket, unless dockerd was told otherwise (--exec-root).
"""

import json
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cli.errors import NotFound, NotRoot, Unreachable

DEFAULT_HOST = "unix:///var/run/docker.sock"
DEFAULT_CONTEXT = "default"
SOCKET = "net-dhcp.sock"
PLUGINS = Path("/run/docker/plugins")


@dataclass(frozen=True, slots=True)
class Target:
    """What the command line says of engine and plugin; `socket` is the plugin's."""

    host: str | None = None
    context: str | None = None
    plugin: str | None = None
    socket: str | None = None


def engine_host(target: Target) -> str:
    """The engine's address: by option, environment, context, or the default one. Raises Failure."""
    if target.host:
        return target.host
    context = target.context
    if context is None and (host := os.environ.get("DOCKER_HOST")):
        return host
    context = context or os.environ.get("DOCKER_CONTEXT") or _current_context()
    return DEFAULT_HOST if context == DEFAULT_CONTEXT else _host_of(context)


def require_here(host: str) -> None:
    """Raises Unreachable if the engine is on another machine."""
    parts = urlsplit(host)
    if parts.scheme in ("unix", "") or _is_loopback(parts.hostname or ""):
        return
    raise Unreachable(
        f"the engine is at {host}, and its plugin's socket is a file on that machine: run this command there"
    )


def directories(host: str) -> list[Path]:
    """Where this engine's plugins may have their sockets, the likeliest first."""
    own = Path(urlsplit(host).path) if host.startswith("unix://") else None
    if own is None:
        return [PLUGINS]
    beside = own.parent / "docker" / "plugins"
    told = [root / "plugins" for root in _exec_root(own)]
    return [*told, *([beside] if own.exists() else []), *([] if told else [PLUGINS])]


def sockets(directory: Path) -> dict[str, Path]:
    """The sockets of this plugin's installations, by the plugin's id. Raises NotRoot."""
    try:
        return {path.name: path / SOCKET for path in sorted(directory.iterdir()) if (path / SOCKET).exists()}
    except PermissionError:
        raise NotRoot(str(directory)) from None
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _configuration() -> Path:
    directory = os.environ.get("DOCKER_CONFIG")
    return Path(directory) if directory else Path.home() / ".docker"


def _current_context() -> str:
    try:
        found = json.loads((_configuration() / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return DEFAULT_CONTEXT  # docker has none, either
    return str(found.get("currentContext") or DEFAULT_CONTEXT) if isinstance(found, dict) else DEFAULT_CONTEXT


def _host_of(context: str) -> str:
    """The engine's address in a context, from where the docker command keeps it."""
    directory = sha256(context.encode()).hexdigest()
    meta = _configuration() / "contexts" / "meta" / directory / "meta.json"
    try:
        return str(json.loads(meta.read_text(encoding="utf-8"))["Endpoints"]["docker"]["Host"])
    except FileNotFoundError:
        raise NotFound(f"there is no context {context!r}: `docker context ls` shows those that there are") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotFound(f"the context {context!r} cannot be read: {error}") from None


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _exec_root(path: Path) -> Iterator[Path]:
    """What the dockerd behind this socket was told, if it was: only its command line knows."""
    pid = _peer(path)
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0") if pid else []
    except OSError:
        return
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name, _, value = word.partition("=")
        if name == "--exec-root":
            yield Path(value or following)


def _peer(path: Path) -> int | None:
    """The process that listens there: dockerd, or systemd on its behalf."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(path))
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
    return int(struct.unpack("3i", credentials)[0]) or None
