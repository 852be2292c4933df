"""The ops service: questions over TCP, answered by a process of its own, which only runs where OPS_LISTEN is set.

A wrong setting, or an address that cannot be bound, costs the service and not the plugin: `problems` says so. Only
questions are taken from the service, so no request to it can change anything.
"""

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from supervisor.contract.errors import InvalidRequest
from supervisor.contract.messages import Question, Request, Respond
from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildState
from supervisor.runtime.loop import Loop
from supervisor.runtime.process_manager import ProcessManager
from supervisor.runtime.services import OPS, HttpService

BACKLOG = 64
SHORTEST_TOKEN = 16  # characters: nobody guesses so many at the rate that the service allows
EXAMPLE = "127.0.0.1:9618"

log = logging.getLogger(__name__)


class WrongSetting(Exception):
    """The settings cannot be used as they are; nothing but another setting helps."""


@dataclass(frozen=True, slots=True)
class TcpSetting:
    """`listen` and `token` as the operator wrote them; without `listen` there is no service."""

    listen: str = ""
    token: str = ""

    def address(self) -> tuple[IPv4Address | IPv6Address, int]:
        """Where to listen. Raises WrongSetting."""
        host, _, port = self.listen.rpartition(":")
        try:
            address = ip_address("127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]"))
            number = int(port) if port.isascii() and port.isdecimal() else 0
        except ValueError:
            address, number = IPv4Address(0), 0
        if not 0 < number < 1 << 16 or (address.version == 6) != host.startswith("["):
            raise WrongSetting(f"it must be ADDRESS:PORT, such as {EXAMPLE} or [::1]:9618, got {self.listen!r}")
        self._require_usable_token()
        if not self.token and not address.is_loopback:
            raise WrongSetting(
                f"{address} can be reached by other machines, so OPS_TOKEN must be set as well; without a token only "
                f"loopback addresses are served, such as {EXAMPLE}"
            )
        return address, number

    def _require_usable_token(self) -> None:
        usable = self.token.isascii() and self.token.isprintable() and " " not in self.token
        if self.token and not (usable and len(self.token) >= SHORTEST_TOKEN):
            raise WrongSetting(
                f"OPS_TOKEN must have at least {SHORTEST_TOKEN} characters, all of them printable ASCII without blanks"
            )


@dataclass(eq=False)
class OpsTcp:
    """The service, if there is to be one. `on_request` gets its questions."""

    process_manager: ProcessManager
    loop: Loop
    setting: TcpSetting
    on_request: Callable[[Request, Respond], None]

    def __post_init__(self) -> None:
        self._service: HttpService | None = None
        self._problem: str | None = None
        self._is_over = not self.setting.listen

    @property
    def children(self) -> tuple[Child, ...]:
        """Its process."""
        return () if self._service is None else (self._service.child,)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the service that the operator wants is not there."""
        if self._service is not None and self._service.child.state is ChildState.BACKOFF:
            return ("the ops service (OPS_LISTEN) has died and is started again",)
        return () if self._problem is None else (self._problem,)

    def look(self) -> None:
        """Starts the service as soon as it can have its address. Call it often: a boot may bring the address later."""
        if self._is_over or self._service is not None:
            return
        try:
            address, port = self.setting.address()
            listener = _listen(address, port)
        except WrongSetting as error:
            self._is_over = True
            self._say(f"{error}; disable the plugin, and use `docker plugin set`")
        except OSError as error:
            self._say(f"{self.setting.listen} cannot be bound ({error.strerror or error}); it is tried again")
        else:
            self._problem = None
            self._start(listener)

    def stop(self) -> None:
        """Ends it."""
        self._is_over = True
        if self._service is not None:
            self._service.stop()

    def _start(self, listener: socket.socket) -> None:
        self._service = HttpService(
            self.process_manager, self.loop, listener, self._on_question, "ops", OPS, (self.setting.token,)
        )
        self._service.start()
        log.info("the ops service listens on %s", self.setting.listen)

    def _on_question(self, request: Request, respond: Respond) -> None:
        if isinstance(request.body, Question):
            self.on_request(request, respond)
        else:
            respond(InvalidRequest("over TCP the plugin only answers questions"))

    def _say(self, problem: str) -> None:
        text = f"the ops service (OPS_LISTEN) does not run: {problem}"
        if text != self._problem:
            log.error("%s", text)
        self._problem = text


def _listen(address: IPv4Address | IPv6Address, port: int) -> socket.socket:
    """Raises OSError."""
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address), port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
