"""The first lease of IPv4, while the link is still in the host's network namespace (workers.dhcp.first_lease).

It does not use udhcpc, which closes a packet socket at each step: the kernel makes it wait some 15 ms each time.
"""

from collections.abc import Iterable

from workers.contract.errors import Failing
from workers.contract.lease import Lease
from workers.contract.messages import EndpointSpec
from workers.dhcp.effects import Offered
from workers.dhcp.first_lease import Exchange
from workers.dhcp4.codec import Answer
from workers.dhcp4.machine import MAX_WAIT_SECONDS, Machine, State
from workers.dhcp4.packet_socket import PacketSocket
from workers.dhcp4.release import release_message
from workers.diagnosis.causes import likely_cause, others_answered
from workers.system.clock import boottime


def machine_for(spec: EndpointSpec) -> Machine:
    """The client of this endpoint; it asks for a remembered lease that still runs first."""
    machine = Machine(spec.mac, spec.client_identity, spec.requested, longest_wait=MAX_WAIT_SECONDS)
    if spec.remembered is not None and spec.remembered.runs(boottime()):
        machine.reboot(spec.remembered)
    return machine


class Exchange4(Exchange[Lease, Answer]):
    """One DISCOVER-OFFER-REQUEST-ACK over the socket, or REQUEST-ACK for a remembered lease."""

    machine: Machine
    packet_socket: PacketSocket

    def __init__(self, spec: EndpointSpec, machine: Machine, packet_socket: PacketSocket) -> None:
        here = spec.container_link
        super().__init__(spec, machine, packet_socket, interface=here, remembered=spec.remembered, now=boottime())

    def _answers(self, _: float) -> Iterable[Answer]:
        return self.packet_socket.receive()

    def _times(self) -> Iterable[float | None]:
        return [self.machine.next_at]

    @property
    def _claimable(self) -> Lease | None:
        """In REBOOTING it waits: the router may answer for all others."""
        return self.machine.candidate

    def _failure(self) -> tuple[str, Failing]:
        tally, spec = self.machine.tally, self._spec
        awaited = "DHCPACK" if self.machine.state is State.REQUESTING else "DHCPOFFER"
        seen = f"{tally.searches} DISCOVER sent, {tally.offers} answers"
        reason, kind = self._servers_failure()
        return f"{awaited} on {spec.link.parent} in {spec.lease_timeout:g} s ({seen}): {reason}", kind

    @property
    def _last_words(self) -> str:
        return repr(super()._last_words)

    def _no_offer(self) -> str:
        tally = self.machine.tally
        others = [others_answered(tally.others, tally.other_server)] if tally.others else []
        return likely_cause(self._spec.link, seen=others)

    def _release_message(self, lease: Lease) -> bytes:
        return release_message(lease, self._spec.mac, self._spec.client_identity)


def find_server(spec: EndpointSpec, packet_socket: PacketSocket) -> str:
    """The first server that offers a lease, for which this client does not ask. Raises NoLease, OSError."""
    return str(Exchange4(spec, machine_for(spec), packet_socket).find_server(Offered).server)
