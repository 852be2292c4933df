"""A machine in the sandbox: keeps a lease over sockets that are open only while it waits for an answer.

Must not know conflicts, nor what follows from its reports.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Generic

from workers.dhcp.effects import Configured, Effect, Granted, L, Refused, Send, Unanswered, Unusable
from workers.dhcp.machine import A, LeaseMachine
from workers.system.clock import boottime

Report = Granted[L] | Configured | Refused | Unusable | Unanswered
REPORTS = (Granted, Configured, Refused, Unusable, Unanswered)  # of the rest the lease manager needs nothing

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Native(ABC, Generic[L, A]):
    """Drives `machine` on `interface`, in the present namespace. `sender` is the MAC that the last answer came from.

    In the states `SILENT` no answer is awaited.
    """

    SILENT: ClassVar[Collection[StrEnum]]

    _interface: str
    _machine: LeaseMachine[L, A]
    sender: str = ""

    @property
    def next_at(self) -> float | None:
        """The `boottime()` at which to call `due`."""
        return self._machine.next_at

    @abstractmethod
    def sources(self) -> list[int]:
        """The descriptors that are readable when an answer has come."""

    def due(self) -> list[Report[L]]:
        """Sends the messages that are due."""
        return self._carry_out(self._machine.due(boottime()))

    def read(self) -> list[Report[L]]:
        """Reads the answers of servers."""
        reports: list[Report[L]] = []
        for answer in self._answers():
            self.sender = answer.sender
            reports += self._carry_out(self._machine.receive(answer, boottime()))
        return reports

    def retry(self, seconds: float) -> None:
        """The granted lease could not be used: asks for it once more."""
        self._machine.next_at = boottime() + seconds

    def close(self) -> None:
        """Ends. The lease stays held; other leases that a server may have granted are released."""
        self._close_sockets()
        self._release_others()

    def _release_others(self) -> None:
        leases, self._machine.unreleased = self._machine.unreleased, []
        self._release(leases)

    def _carry_out(self, effects: Iterable[Effect[L]]) -> list[Report[L]]:
        reports: list[Report[L]] = []
        for effect in effects:
            if isinstance(effect, Send):
                try:
                    self._send(effect)
                except OSError as error:  # the machine tries it again, as a message without an answer
                    log.debug("%s not sent: %s", self._machine.state, error, extra={"interface": self._interface})
            elif isinstance(effect, REPORTS):
                reports.append(effect)
        if self._machine.state in self.SILENT:
            self._close_sockets()
        if self._machine.granted is not None:
            self._release_others()
        return reports

    @abstractmethod
    def _send(self, message: Send) -> None:
        """Raises OSError."""

    @abstractmethod
    def _answers(self) -> list[A]: ...

    @abstractmethod
    def _release(self, leases: Collection[L]) -> None: ...

    @abstractmethod
    def _close_sockets(self) -> None: ...
