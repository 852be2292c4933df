"""Starts the supervisor without a first process (`python3 -m supervisor`).

It takes the lock on the state, because a second instance must not take the first one's socket. Then it binds the
socket, and only then imports the heavy modules.
"""

import argparse
import os
import re
import resource
import socket
from collections.abc import Callable
from pathlib import Path

from supervisor import log
from supervisor.listener import listen
from supervisor.runtime.shared_memory import import_shared, share_objects
from supervisor.state.instance_lock import StateInUse, lock_state

PLUGIN_SOCKET = Path("/run/docker/plugins/net-dhcp.sock")
STATE = Path("/var/lib/net-dhcp")  # config.json's propagatedMount: dockerd keeps it over restarts and upgrades
OLDEST_KERNEL = (5, 4)
# config.json mounts the socket's directory: a dockerd that starts anew below a running plugin makes another socket.
ENGINE_SOCKET = "/run/host/docker.sock"


def main() -> None:
    """Serves until SIGTERM."""
    _, serve = prepare()
    serve()


def require_kernel(release: str) -> None:
    """Ends the process on a kernel that lacks what we use: pidfds (pidfd_open, and waitid for one) and clone3."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if found and (int(found[1]), int(found[2])) < OLDEST_KERNEL:
        oldest = ".".join(map(str, OLDEST_KERNEL))
        raise SystemExit(f"Linux {release} is too old for this plugin, which needs Linux {oldest} or newer: upgrade it")


def prepare() -> tuple[socket.socket, Callable[[], None]]:
    """Locks the state and loads what all processes share. Returns the listening socket, and a function that serves."""
    require_kernel(os.uname().release)
    arguments = _arguments()
    log.configure(os.environ.get("LOG_LEVEL", "INFO"))
    _raise_descriptor_limit()
    try:
        lock_state(arguments.state)
    except StateInUse as error:
        raise SystemExit(str(error)) from None
    listener = listen(arguments.socket)

    import_shared()
    from supervisor.core import Supervisor
    from supervisor.ops.tcp import TcpSetting
    from workers.entry.warm_up import warm_up
    from workers.system.namespaces import make_sysctls_writable

    def serve() -> None:
        make_sysctls_writable()
        tcp = TcpSetting(os.environ.get("OPS_LISTEN", ""), os.environ.get("OPS_TOKEN", ""))
        Supervisor(listener, arguments.engine, arguments.state, tcp).run()
        arguments.socket.unlink(missing_ok=True)

    warm_up()
    share_objects()
    return listener, serve


def _raise_descriptor_limit() -> None:
    """The usual limit of 1024 is that of programs that call select(2); two descriptors go to each endpoint here."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="supervisor", description="Docker network driver plugin net-dhcp")
    parser.add_argument("--socket", type=Path, default=PLUGIN_SOCKET, help="where dockerd reaches the plugin")
    parser.add_argument("--engine", default=ENGINE_SOCKET, help="where the plugin reaches dockerd")
    parser.add_argument("--state", type=Path, default=STATE, help="the directory where the plugin keeps its state")
    return parser.parse_args()


if __name__ == "__main__":
    main()
