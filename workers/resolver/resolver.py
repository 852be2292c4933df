"""Has a container resolve names by the servers and the search list of its leases, and by Docker's own resolver as well.

The container goes on asking Docker's resolver at 127.0.0.11. In the sandbox those questions are redirected to the
worker's forwarder, and the search list is edited into the container's resolv.conf. All of it ends with the endpoint;
the redirection also while no worker is there to answer. Runs in the sandbox's network namespace.
"""

import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from io import FileIO
from pathlib import Path

from workers.contract.lease import Address
from workers.contract.messages import UseResolver
from workers.netlink.nftables import put_redirect, remove_redirect
from workers.resolver.forwarder import DNS_PORT, EMBEDDED, MARK, Forwarder
from workers.resolver.resolv_conf import asks_embedded, with_names, without

MAX_BYTES = 1 << 16  # a larger file is not the engine's

log = logging.getLogger(__name__)


@dataclass(init=False, eq=False)
class Resolver:
    """The container's resolver as one endpoint changes it; `forwarder` is to be served while there is one."""

    _endpoint: str
    _command: UseResolver
    forwarder: Forwarder | None = None
    _done: tuple[tuple[str, ...], tuple[str, ...]] | None = None  # servers and search list

    def __init__(self, endpoint_id: str, command: UseResolver) -> None:
        self._endpoint = endpoint_id[:12]
        self._command = command

    @property
    def _table(self) -> str:
        return f"net-dhcp-{self._endpoint}"

    def follow(self, own: Sequence[Address], servers: Sequence[Address], search: Sequence[str]) -> None:
        """Uses these servers and this search list from now on; `own` are the addresses of the endpoint.

        A container that is one of the servers itself has its own upstreams, and is left alone.
        """
        wanted = (tuple(map(str, servers)), tuple(search) if self._command.search else ())
        if wanted == self._done or not servers:
            return
        if set(own) & set(servers):
            self.undo()
            return
        with _reported("the lease's name servers are not used"):
            asks = self._edit(lambda text: with_names(text, self._endpoint, wanted[1]))
            self._done = wanted
            if not asks:
                log.warning("the container's resolv.conf does not name Docker's resolver alone, and is left as it is")
                return
            self._forward(wanted[0])
            words = (", ".join(wanted[0]), ", ".join(wanted[1]) or "as before")
            log.info("names are resolved by %s, searched in %s", *words)

    def undo(self) -> None:
        """Leaves the container's resolver as the engine made it."""
        if self._done is not None:
            self.pause()
            with _reported("the search list of a former lease stays"):
                self._edit(lambda text: without(text, self._endpoint))

    def pause(self) -> None:
        """Nobody answers here any more: Docker's resolver does, until somebody follows again."""
        self._done = None
        with _reported("questions of names go nowhere"):
            remove_redirect(self._table)
        if self.forwarder is not None:
            self.forwarder.close()
            self.forwarder = None

    def _forward(self, servers: Sequence[str]) -> None:
        """An earlier forwarder stays: the container's sockets may be tied to its port, and questions be open."""
        if self.forwarder is not None:
            self.forwarder.use(servers)
            return
        forwarder = Forwarder(servers)
        put_redirect(self._table, EMBEDDED, DNS_PORT, forwarder.port, MARK)
        self.forwarder = forwarder

    def _edit(self, change: Callable[[str], str]) -> bool:
        """Changes the file in place: it is mounted into the container. Raises OSError.

        False if it is not the engine's any more: it names another resolver.
        """
        path = Path(self._command.path)
        with _alone(path.parent), FileIO(path, "r+", opener=_no_link) as file:
            before = file.read(MAX_BYTES + 1) or b""
            text = before.decode("utf-8", "surrogateescape")
            if len(before) > MAX_BYTES or not asks_embedded(text):
                return False
            after = change(text).encode("utf-8", "surrogateescape")
            if after != before:
                os.pwrite(file.fileno(), after.ljust(len(before), b"\n"), 0)  # who reads meanwhile sees whole lines
                os.ftruncate(file.fileno(), len(after))
            return True


def _no_link(path: str, flags: int) -> int:
    """Opens a regular file only. Raises OSError."""
    number = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{path} is no regular file")
    return number


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Of several endpoints of one container each changes the file by itself. The container cannot see the directory."""
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flock(number, LOCK_EX)
        yield
    finally:
        os.close(number)


@contextmanager
def _reported(consequence: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.warning("%s: %s", consequence, error)
