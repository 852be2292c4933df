"""A machine under test, and the servers that answer it as the test says; no socket and no clock."""

from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Interface

from tests.netns.process.wire6 import Kind, Option, Packet, ia_address, ia_na
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Lease6
from workers.dhcp.effects import Send
from workers.dhcp6.codec import decode
from workers.dhcp6.machine import Effect, Machine, State

MAC = "02:00:00:00:00:01"
IDENTITY = ClientIdentity.of_mac(MAC, "web")
SERVER, OTHER = b"\0\3\0\1server", b"\0\3\0\1other!"
ADDRESS, ANOTHER = IPv6Address("2001:db8::10"), IPv6Address("2001:db8::20")
BEGUN, PREFERRED, VALID = 1000.0, 8000, 16000
T1, T2, END = BEGUN + PREFERRED / 2, BEGUN + PREFERRED * 0.8, BEGUN + VALID
LEASE = Lease6(IPv6Interface(ADDRESS), SERVER, VALID, BEGUN, PREFERRED, PREFERRED // 2, int(PREFERRED * 0.8))


def granting(address: IPv6Address = ADDRESS, preferred: int = PREFERRED, valid: int = VALID) -> tuple[int, bytes]:
    """An IA_NA with one address; T1 and T2 are left to the client."""
    return ia_na(IDENTITY.iaid, 0, 0, ia_address(address, preferred, valid))


@dataclass
class Client:
    """A machine, what it has sent, and what it has said."""

    machine: Machine = field(default_factory=lambda: Machine(MAC, IDENTITY))
    sent: list[Packet] = field(default_factory=list)
    said: list[Effect] = field(default_factory=list)

    @property
    def last(self) -> Packet:
        """The message that it has sent last."""
        return self.sent[-1]

    @property
    def kinds(self) -> list[Kind]:
        """The messages that it has sent."""
        return [packet.kind for packet in self.sent]

    @property
    def at(self) -> float:
        """When it wants to be called."""
        assert self.machine.next_at is not None
        return self.machine.next_at

    def due(self, now: float | None = None) -> None:
        """It is called, at its time if no other is given."""
        self.take(self.machine.due(self.at if now is None else now))

    def hear(
        self, kind: Kind, now: float, *options: tuple[int, bytes], server: bytes = SERVER, xid: int | None = None
    ) -> None:
        """An answer to what it has sent last."""
        ids = [(int(Option.CLIENT_ID), IDENTITY.duid), (int(Option.SERVER_ID), server)]
        answer = Packet(kind, self.last.xid if xid is None else xid, [*ids, *options])
        self.take(self.machine.receive(decode(answer.encode()), now))

    def take(self, effects: list[Effect]) -> None:
        """What came of it."""
        for effect in effects:
            if isinstance(effect, Send):
                self.sent.append(Packet.decode(effect.payload))
            else:
                self.said.append(effect)


def holding(lease: Lease6 = LEASE, *, confirm: bool = False) -> Client:
    """One that is BOUND."""
    client = Client()
    client.machine.hold(lease, BEGUN, confirm=confirm)
    return client


def soliciting() -> Client:
    """One that has sent its first Solicit."""
    client = Client()
    client.due(BEGUN)
    return client


def requesting() -> Client:
    """One that has asked for an offer."""
    client = soliciting()
    client.hear(Kind.ADVERTISE, BEGUN + 0.002, granting())
    client.due()
    return client


def rebooting() -> Client:
    """One that has asked for a remembered lease."""
    client = Client()
    client.machine.reboot(LEASE)
    client.due(BEGUN)
    return client


def confirming() -> Client:
    """One whose link may be another one."""
    client = holding()
    client.machine.moved(BEGUN)
    client.due()
    return client


def informing() -> Client:
    """One that wants no address."""
    client = Client()
    client.machine.inform(BEGUN)
    client.due()
    return client


def in_state(state: State) -> Client:
    """One in a state in which an answer is awaited."""
    makers = {
        State.SOLICIT: soliciting,
        State.REQUEST: requesting,
        State.REBOOT: rebooting,
        State.CONFIRM: confirming,
        State.INFORM: informing,
    }
    if state in makers:
        client = makers[state]()
    else:
        client = holding()
        client.due(T1 if state is State.RENEW else T2)
    assert client.machine.state is state
    return client
