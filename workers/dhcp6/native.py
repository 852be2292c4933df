"""The machine in the sandbox: keeps a lease over a packet socket that is open only while it waits for an answer.

Must not know conflicts, nor what follows from its reports.
"""

import logging

from workers.dhcp6.codec import Answer
from workers.dhcp6.effects import (
    Configured,
    Effect,
    Granted,
    Offered,
    Refused,
    Send,
    Unanswered,
    Unconfirmed,
    Unusable,
)
from workers.dhcp6.machine import Machine, State
from workers.dhcp6.packet_socket import PacketSocket6
from workers.dhcp6.release import release_unheard
from workers.system.clock import boottime

SILENT = (State.INIT, State.BOUND, State.INFORMED)  # the states in which no answer is awaited
Report = Granted | Configured | Refused | Unusable | Unanswered

log = logging.getLogger(__name__)


class NativeClient6:
    """Drives `machine` on `interface`, whose MAC is `mac`, in the present namespace.

    `sender` is the MAC that the last answer came from.
    """

    def __init__(self, interface: str, mac: str, machine: Machine) -> None:
        self._interface = interface
        self._mac = mac
        self._machine = machine
        self.sender = ""
        self._packets: PacketSocket6 | None = None

    @property
    def next_at(self) -> float | None:
        """The `boottime()` at which to call `due`."""
        return self._machine.next_at

    def sources(self) -> list[int]:
        """The descriptors that are readable when an answer has come."""
        return [] if self._packets is None else [self._packets.fileno()]

    def due(self) -> list[Report]:
        """Sends the messages that are due."""
        return self._carry_out(self._machine.due(boottime()))

    def read(self) -> list[Report]:
        """Reads the answers of servers."""
        reports: list[Report] = []
        for answer in self._answers():
            self.sender = answer.sender
            reports += self._carry_out(self._machine.receive(answer, boottime()))
        return reports

    def moved(self) -> None:
        """The link was down, and may be another one now: the next message is a Confirm."""
        self._machine.moved(boottime())

    def retry(self, seconds: float) -> None:
        """The granted lease could not be used: asks for it once more."""
        self._machine.next_at = boottime() + seconds

    def close(self) -> None:
        """Ends. The lease stays held; other leases that a server may have granted are released."""
        self._close_socket()
        self._release_others()

    def _release_others(self) -> None:
        leases = list(self._machine.unreleased.values())
        self._machine.unreleased.clear()
        release_unheard(self._interface, self._mac, leases, self._machine.identity)

    def _carry_out(self, effects: list[Effect]) -> list[Report]:
        reports: list[Report] = []
        for effect in effects:
            if isinstance(effect, Send):
                self._send(effect)
            elif isinstance(effect, Report):
                reports.append(effect)
            else:
                assert isinstance(effect, Offered | Unconfirmed)  # the lease manager probes for the granted address
        if self._machine.state in SILENT:
            self._close_socket()
        if self._machine.state is State.BOUND:
            self._release_others()
        return reports

    def _send(self, message: Send) -> None:
        """Sends. The machine tries a message that cannot be sent again, as one without an answer."""
        try:
            if self._packets is None:
                self._packets = PacketSocket6(self._interface, self._mac)
            self._packets.multicast(message.payload)
        except OSError as error:
            log.debug("%s not sent: %s", self._machine.state, error, extra={"interface": self._interface})

    def _answers(self) -> list[Answer]:
        if self._packets is None:
            return []
        try:
            return [message for message in self._packets.receive() if isinstance(message, Answer)]
        except OSError:  # the link has gone, or is down
            self._close_socket()
            return []

    def _close_socket(self) -> None:
        if self._packets is not None:
            self._packets.close()
            self._packets = None
