"""Verdicts: what the server, the engine and the kernel say about a container has to be the same."""

import os
import re
import signal
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from tests.lab.command import wait_until
from tests.lab.containers import Attachment, Container
from tests.lab.dhcp import DhcpServer, ServerLease
from tests.lab.kea import Kea
from tests.lab.lab import Lab
from tests.lab.network import SERVER
from tests.lab.plugin import Plugin
from tests.plugin.sandbox import Sandbox

PACKET = re.compile(r"dnsmasq-dhcp\[\d+\]: (?P<xid>\d+) (?P<text>.*)")
NAME = re.compile(r"client provides name: (\S+)")
NAME_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Named:
    """A DHCPDISCOVER or DHCPREQUEST, with the host name that it carried."""

    kind: str
    name: str | None


def assert_leased(container: Container, network: str, dhcp: DhcpServer | Kea) -> Attachment:
    """The engine's address is the container's only one there, and the server has leased it to the container's MAC."""
    attachment = container.attachment(network)
    assert attachment.address is not None
    assert Sandbox.of(container).addresses(attachment.mac) == [attachment.address]
    assert leased(dhcp, attachment.mac) == [attachment.address.ip]
    return attachment


def assert_leased6(container: Container, network: str, dhcp: DhcpServer) -> IPv6Address:
    """The same of its IPv6 address, which is returned."""
    attachment = container.attachment(network)
    assert attachment.address6 is not None
    assert Sandbox.of(container).addresses6(attachment.mac) == [attachment.address6]
    assert [one.address for one in dhcp.leases6() if one.duid == duid_of(attachment.mac)] == [attachment.address6]
    return attachment.address6


def duid_of(mac: str) -> str:
    """The DUID of a container with this MAC (RFC 8415 section 11.4)."""
    return f"00:03:00:01:{mac}"


def lease_of(dhcp: DhcpServer, mac: str) -> ServerLease:
    """The server's only one for this MAC."""
    (lease,) = [lease for lease in dhcp.leases() if lease.mac == mac]
    return lease


def leased(dhcp: DhcpServer | Kea, mac: str) -> list[IPv4Address]:
    """What the server has leased to this MAC now."""
    return [lease.address for lease in dhcp.leases() if lease.mac == mac]


def assert_released(dhcp: DhcpServer | Kea, mac: str, times: int = 1) -> None:
    """The server gets just that many RELEASEs from this MAC, and takes the address back.

    The packet has left when the engine says that the container has; a busy server reads it later.
    """
    wait_until(lambda: dhcp.kinds(mac).count("RELEASE") >= times and not leased(dhcp, mac), "the server's word of it")
    assert dhcp.kinds(mac).count("RELEASE") == times
    assert leased(dhcp, mac) == []


def names(dhcp: DhcpServer, mac: str) -> list[Named]:
    """What each DISCOVER and REQUEST of this client said its name was; dnsmasq logs the name before the packet."""
    found: list[Named] = []
    announced: dict[str, str] = {}
    for match in filter(None, map(PACKET.search, dhcp.log().splitlines())):
        xid, text = match["xid"], match["text"]
        if name := NAME.match(text):
            announced[xid] = name[1]
        elif (kind := text.partition("(")[0]) in ("DHCPDISCOVER", "DHCPREQUEST"):
            name_now = announced.pop(xid, None)
            found += [Named(kind, name_now)] if mac in text else []
    return found


def assert_found(lab: Lab, container: Container, network: str, name: str) -> None:
    """The LAN's DNS finds the container by this name, and did so within 5 s of its start.

    A busy machine may take longer to ask. The server answers from the ACK on whose line in its log the name is, so the
    time of the first one since the container came to the LAN is judged.
    """
    attachment = container.attachment(network)
    assert attachment.address is not None
    address = str(attachment.address.ip)
    wait_until(lambda: lookup(lab, name) == address, f"{name} in the LAN's DNS")
    named: list[float] = []
    for message in lab.dhcp.messages(attachment.mac):
        if message.kind == "RELEASE":
            named.clear()
        elif message.kind == "ACK" and message.words == name:
            named.append(message.time)
    assert named[0] + 1 <= container.started() + NAME_SECONDS  # the log has whole seconds


def lookup(lab: Lab, name: str) -> str:
    """The address that the LAN's DNS has for a name, if it has one."""
    return lab.network.on_lan("dig", "+short", f"@{SERVER}", f"{name}.lan")


def endpoint(plugin: Plugin, attachment: Attachment) -> dict[str, Any]:
    """The plugin's own view, once its client runs inside the sandbox."""

    def attached() -> dict[str, Any] | None:
        status, body = plugin.get("/v1/endpoints")
        assert status == 200
        found = [e for e in body["endpoints"] if e["endpoint_id"] == attachment.endpoint_id]
        return next((e for e in found if e["phase"] == "joined" and e["udhcpc_pid"]), None)

    return wait_until(attached, f"the client of {attachment.mac} in its sandbox") or {}


def await_client(plugin: Plugin, attachment: Attachment) -> int:
    """The pid of the udhcpc in the sandbox, once it has had its first DHCPACK there."""
    wait_until(lambda: confirmations(plugin, attachment), "the ACK of the client in the sandbox", interval=0.1)
    return int(endpoint(plugin, attachment)["udhcpc_pid"])


def confirmations(plugin: Plugin, attachment: Attachment) -> int:
    """How often the client in the sandbox has had its lease confirmed."""
    return said(plugin, attachment, "confirmed by")


def await_resolver(plugin: Plugin, attachment: Attachment) -> None:
    """Until the container's questions of names go to its worker (`dns=lease`)."""
    wait_until(lambda: said(plugin, attachment, "names are resolved by"), "the container's resolver")


def said(plugin: Plugin, attachment: Attachment, words: str) -> int:
    """How many lines the plugin has logged with these words for this endpoint. All tests of a laboratory share the log,
    so lines that name no endpoint may be another test's."""
    its = f"endpoint={attachment.endpoint_id[:12]}"
    return sum(words in line and its in line for line in plugin.log())


def renew(plugin: Plugin, lab: Lab, attachment: Attachment) -> None:
    """The renewal that T1 would bring, now; returns when the server has answered it and the plugin knows."""
    pid = await_client(plugin, attachment)
    acks = len(lab.dhcp.messages(attachment.mac, "ACK"))
    before = confirmations(plugin, attachment)
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: confirmations(plugin, attachment) > before, "the renewal", interval=0.1)
    asked = len(lab.dhcp.messages(attachment.mac, "ACK")) - acks
    assert asked in (1, 2)  # BusyBox misses an answer that comes before it has closed the socket of its question
