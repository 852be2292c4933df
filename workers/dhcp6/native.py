"""The machine in the sandbox, over a packet socket."""

from collections.abc import Collection
from dataclasses import dataclass

from workers.contract.lease import Lease6
from workers.dhcp.effects import Send
from workers.dhcp.native import Native
from workers.dhcp6.codec import Answer
from workers.dhcp6.machine import Machine, State
from workers.dhcp6.packet_socket import PacketSocket6
from workers.dhcp6.release import release_unheard
from workers.system.clock import boottime


@dataclass(eq=False)
class NativeClient6(Native[Lease6, Answer]):
    """A DHCPv6 client (workers.dhcp.native)."""

    SILENT = (State.INIT, State.BOUND, State.INFORMED)

    _machine: Machine
    _packets: PacketSocket6 | None = None

    def sources(self) -> list[int]:
        return [] if self._packets is None else [self._packets.fileno()]

    def moved(self) -> None:
        """The link was down, and may be another one now: the next message is a Confirm."""
        self._machine.moved(boottime())

    def _release(self, leases: Collection[Lease6]) -> None:
        release_unheard(self._interface, self._machine.mac, leases, self._machine.identity)

    def _send(self, message: Send) -> None:
        if self._packets is None:
            self._packets = PacketSocket6(self._interface, self._machine.mac)
        self._packets.send(message.payload)

    def _answers(self) -> list[Answer]:
        if self._packets is None:
            return []
        try:
            return [message for message in self._packets.receive() if isinstance(message, Answer)]
        except OSError:  # the link has gone, or is down
            self._close_sockets()
            return []

    def _close_sockets(self) -> None:
        if self._packets is not None:
            self._packets.close()
            self._packets = None
