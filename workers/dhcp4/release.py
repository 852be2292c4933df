"""Gives leases back by DHCPRELEASE and DHCPDECLINE (RFC 2131 sections 4.4.6 and 4.4.4), for all clients.

Owns the packet and the proof that it has left. Must not know why a lease ends.
"""

import logging
import random
import select
import socket
from ipaddress import IPv4Address

from workers.contract.client_identity import ClientIdentity
from workers.contract.errors import ReleaseError
from workers.contract.exchange import CLIENT_PORT, SERVER_PORT, Kind, note
from workers.contract.lease import Lease
from workers.dhcp4.codec import encode, noted
from workers.dhcp4.machine import declination
from workers.dhcp4.packet_socket import PacketSocket
from workers.link.configure import configure
from workers.netlink.operations import Netlink, NetlinkError
from workers.system.namespaces import Namespace, disable_ipv6, new_namespace

# asm-generic/socket.h, linux/net_tstamp.h
SO_TIMESTAMPING = 37
SOF_TIMESTAMPING_SOFTWARE, SOF_TIMESTAMPING_TX_SCHED, SOF_TIMESTAMPING_OPT_TSONLY = 1 << 4, 1 << 8, 1 << 11

log = logging.getLogger(__name__)


def release(interface: str, lease: Lease, mac: str, identity: ClientIdentity, timeout: float = 2.0) -> None:
    """Sends one DHCPRELEASE from the leased address, which must be on `interface`, in the present namespace.

    `mac` and `identity` are those that obtained the lease. Returns when the packet has been handed to the link,
    and so after the next hop's address was resolved: the removal of the link right afterwards does not lose it.
    Raises ReleaseError, after `timeout` seconds at the latest.
    """
    server = lease.server
    if server is None:
        raise ReleaseError(f"the lease of {lease.address.ip} names no server to release it to")
    try:
        with _client_socket(interface, lease.address.ip) as client:
            client.connect((str(server), SERVER_PORT))
            message = release_message(lease, mac, identity)
            client.send(message)
            note(noted(message, sent=True))
            left = _has_left(client, timeout)
    except OSError as error:
        raise ReleaseError(f"releasing {lease.address.ip} to {server} over {interface}: {error.strerror}") from error
    if not left:
        raise ReleaseError(
            f"releasing {lease.address.ip} to {server} over {interface}: "
            f"the next hop did not answer ARP within {timeout:g} s"
        )


def release_detached(
    container_link: str, lease: Lease, mac: str, identity: ClientIdentity, timeout: float = 2.0
) -> None:
    """Sends the DHCPRELEASE for a link that lies without an address in the present namespace, and removes the link.

    The leased address is never put on the host: the link goes into a namespace of its own for it. The process is
    back in its namespace afterwards. Raises ReleaseError; a link that could be moved is removed then, too.
    """
    try:
        with new_namespace() as scratch:
            _move(container_link, scratch)
            with scratch.visit():
                _release_and_remove(container_link, lease, mac, identity, timeout)
    except (NetlinkError, OSError) as error:
        raise ReleaseError(f"releasing {lease.address.ip} over {container_link}: {error}") from error


def decline(interface: str, lease: Lease, mac: str, identity: ClientIdentity, claimant: str) -> None:
    """Tells the server that `claimant` has the address (RFC 2131 section 4.4.4); logs a failure.

    If the message is lost, the server may offer the address again.
    """
    _broadcast(interface, declination(lease, mac, identity, claimant), "DHCPDECLINE")


def release_by_broadcast(interface: str, lease: Lease, mac: str, identity: ClientIdentity) -> None:
    """Releases a lease whose address is not on the link, and so by broadcast; logs a failure."""
    _broadcast(interface, release_message(lease, mac, identity), "DHCPRELEASE")


def release_message(lease: Lease, mac: str, identity: ClientIdentity) -> bytes:
    """A DHCPRELEASE with the fields of RFC 2131, table 5."""
    return encode(Kind.RELEASE, random.getrandbits(32), mac, identity, ciaddr=lease.address.ip, server=lease.server)


def _broadcast(interface: str, message: bytes, name: str) -> None:
    try:
        with PacketSocket(interface) as packet_socket:
            packet_socket.send(message)
    except OSError as error:
        log.warning("%s not sent: %s", name, error, extra={"interface": interface})


def _move(container_link: str, scratch: Namespace) -> None:
    with Netlink() as netlink:
        netlink.move_link(netlink.require_link(container_link), scratch)


def _release_and_remove(container_link: str, lease: Lease, mac: str, identity: ClientIdentity, timeout: float) -> None:
    with Netlink() as netlink:
        try:
            disable_ipv6(container_link)
            netlink.raise_link(container_link)
            configure(container_link, None, lease, skip_routes=False, announced=False)
            release(container_link, lease, mac, identity, timeout)
        finally:
            netlink.delete_link(container_link)


def _client_socket(interface: str, address: IPv4Address) -> socket.socket:
    """Asks for a report of each packet's departure; SO_REUSEADDR as udhcpc may hold the port."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        report = SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY
        client.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, report)
        client.bind((str(address), CLIENT_PORT))
    except OSError:
        client.close()
        raise
    return client


def _has_left(client: socket.socket, timeout: float) -> bool:
    """Waits for the report that the packet was handed to the link; this error queue gets nothing else."""
    poller = select.poll()
    poller.register(client, 0)  # POLLERR wakes it, which needs no request
    if not poller.poll(timeout * 1000):
        return False
    client.recvmsg(0, 512, socket.MSG_ERRQUEUE)  # raises BlockingIOError if something else has woken us
    return True
