"""Gives a lease back (RFC 8415 sections 18.2.7 and 18.2.8): by a Release, or by a Decline if another machine has it.

Both work in the sandbox and on the host alike: the messages come from the link's own link-local address, so the leased
address need not be on the link.
"""

import logging
import random
from collections.abc import Collection

from workers.contract.client_identity import ClientIdentity
from workers.contract.errors import ReleaseError
from workers.contract.exchange import Kind6
from workers.contract.lease import Lease6
from workers.dhcp6.codec import Answer
from workers.dhcp6.machine import message_about
from workers.dhcp6.packet_socket import PacketSocket6
from workers.system.clock import boottime
from workers.system.poll import ready

ANSWER_SECONDS = 0.25
TRIES = 2  # the RFC says 4 with waits of a second and more, but a container that stops does not wait so long

log = logging.getLogger(__name__)


def release(interface: str, mac: str, lease: Lease6, identity: ClientIdentity) -> None:
    """Sends a Release over `interface`, in the present namespace, and waits for the server's Reply.

    `mac` is the link's, `identity` the one that obtained the lease. Raises ReleaseError, after half a second at the
    latest; the server may have heard the message nevertheless.
    """
    try:
        answered = _tell(Kind6.RELEASE, interface, mac, lease, identity)
    except OSError as error:
        raise ReleaseError(f"releasing {lease.address.ip} over {interface}: {error.strerror}") from error
    if not answered:
        waited = f"no REPLY in {TRIES * ANSWER_SECONDS:g} s ({TRIES} RELEASE sent)"
        raise ReleaseError(f"releasing {lease.address.ip} to the {lease.source} over {interface}: {waited}")


def decline(interface: str, mac: str, lease: Lease6, identity: ClientIdentity) -> None:
    """Tells the server that another machine has the address; logs a failure.

    If the message is lost, the server may offer the address again.
    """
    try:
        if not _tell(Kind6.DECLINE, interface, mac, lease, identity):
            log.warning("DECLINE of %s not answered", lease.address.ip, extra={"interface": interface})
    except OSError as error:
        log.warning("DECLINE not sent: %s", error, extra={"interface": interface})


def release_unheard(interface: str, mac: str, leases: Collection[Lease6], identity: ClientIdentity) -> None:
    """Releases leases that a server may have granted, without waiting for an answer; logs a failure."""
    if not leases:
        return
    try:
        with PacketSocket6(interface, mac) as packet_socket:
            for lease in leases:
                packet_socket.send(release_message(lease, identity))
    except OSError as error:
        log.warning("RELEASE not sent: %s", error, extra={"interface": interface})


def release_message(lease: Lease6, identity: ClientIdentity) -> bytes:
    """A Release of one lease."""
    return message_about(Kind6.RELEASE, random.getrandbits(24), lease, identity)


def _tell(kind: Kind6, interface: str, mac: str, lease: Lease6, identity: ClientIdentity) -> bool:
    """Whether the server has answered. Its status does not matter: it has no lease of ours any more. Raises OSError."""
    xid, begun = random.getrandbits(24), boottime()
    with PacketSocket6(interface, mac) as packet_socket:
        for attempt in range(TRIES):
            packet_socket.send(message_about(kind, xid, lease, identity, boottime() - begun))
            until = begun + (attempt + 1) * ANSWER_SECONDS
            left = ANSWER_SECONDS
            while left > 0:
                left = until - boottime()
                ready([packet_socket.fileno()], max(0.0, left))
                # An answer counts also if a busy machine reads it when the time is over.
                if any(_is_reply(message, xid, lease, identity) for message in packet_socket.receive()):
                    return True
    return False


def _is_reply(message: object, xid: int, lease: Lease6, identity: ClientIdentity) -> bool:
    ours = (Kind6.REPLY, xid, identity.duid, lease.server)
    return isinstance(message, Answer) and (message.kind, message.xid, message.client, message.server) == ours
