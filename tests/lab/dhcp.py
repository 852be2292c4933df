"""The LAN's DHCP and DNS server: dnsmasq, with its log read as a list of DHCP messages of either family."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

from tests.lab.command import wait_until
from tests.lab.daemon import Daemon
from tests.lab.network import LAN, LAN6, LAN_BRIDGE, SERVER, SERVER6

LINE = re.compile(
    r"^(?P<time>\w{3} [ \d]\d [\d:]{8}) dnsmasq-dhcp\[\d+\]: (?:\d+ )?DHCP(?P<kind>[A-Z]+)\(\S+\)"
    r"(?: (?P<address>\d+\.\d+\.\d+\.\d+))? (?P<mac>[0-9a-f]{2}(?::[0-9a-f]{2}){5})(?!:)(?: (?P<words>.*))?"
)
LINE6 = re.compile(
    r"^(?P<time>.{15}) dnsmasq-dhcp\[\d+\]: (?P<xid>\d+) DHCP(?P<kind>[A-Z-]+)\(\S+\)"
    r"(?: (?P<address>[0-9a-f:]*::[0-9a-f:]*))? (?P<duid>[0-9a-f]{2}(?::[0-9a-f]{2}){6,})(?: (?P<words>.*))?"
)
REFUSALS = {
    *("lease not found", "no binding found", "address invalid"),
    *("address unavailable", "address in use", "no addresses available"),
}
SERVER_DUID = "duid "  # begins the line of its own DUID in the lease file, which IPv6 leases follow


@dataclass(frozen=True, slots=True)
class Ipv6Options:
    """What the server hands out over IPv6, and what it says as a router.

    `mode` is dnsmasq's word for what the addresses come from: "" for DHCPv6, "slaac" for both, "ra-stateless" for
    SLAAC with name servers from DHCPv6, "ra-only" for SLAAC. `network` needs an address on the server's interface.
    """

    network: IPv6Network = LAN6
    mode: str = ""
    first: int = 0x1000
    last: int = 0x1FFF
    lease_time: int = 120
    router: bool = True
    dns: IPv6Address | None = SERVER6

    def argv(self) -> list[str]:
        """As dnsmasq takes them."""
        pool = (
            f"{self.network[self.first]},{self.network[self.last]}" if self.mode in ("", "slaac") else self.network[0]
        )
        words = [str(pool), *([self.mode] if self.mode else []), str(self.network.prefixlen), str(self.lease_time)]
        dns = [f"--dhcp-option=option6:dns-server,[{self.dns}]"] if self.dns else []
        return [f"--dhcp-range={','.join(words)}", *(["--enable-ra"] if self.router else []), *dns]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the server hands out. `lease_time` is in seconds; `extra` are further arguments of dnsmasq.

    Without `ipv4` it leaves that family to another server.
    """

    first: IPv4Address = LAN[50]
    last: IPv4Address = LAN[250]
    netmask: IPv4Address = LAN.netmask
    lease_time: int = 120
    router: IPv4Address | None = SERVER
    domain: str = "lan"
    reservations: dict[str, IPv4Address] = field(default_factory=dict)
    ipv6: Ipv6Options | None = None
    ipv4: bool = True
    extra: tuple[str, ...] = ()

    def argv(self) -> list[str]:
        """As dnsmasq takes them; an empty option 3 keeps it from naming itself as the router."""
        pool = f"--dhcp-range={self.first},{self.last},{self.netmask},{self.lease_time}"
        return [
            *([pool] if self.ipv4 else ()),
            f"--dhcp-option=3{f',{self.router}' if self.router else ''}",
            f"--domain={self.domain}",
            f"--local=/{self.domain}/",
            *(f"--dhcp-host={mac},{address}" for mac, address in self.reservations.items()),
            *(self.ipv6.argv() if self.ipv6 else ()),
            *self.extra,
        ]


@dataclass(frozen=True, slots=True)
class Message:
    """A DHCP message that the server saw or sent. `time` is in Unix seconds, whole ones; `kind` as in RFC 2131; `words`
    are the server's about it, and the client's name for an ACK."""

    time: float
    kind: str
    mac: str
    address: IPv4Address | None
    words: str


@dataclass(frozen=True, slots=True)
class ServerLease:
    """A lease in the server's file, where it is `line`. `expires` is in Unix seconds."""

    expires: int
    mac: str
    address: IPv4Address
    hostname: str | None
    client_id: str
    line: str


@dataclass(frozen=True, slots=True)
class Message6:
    """A DHCPv6 message that the server saw or sent, as Message; `words` are the server's about it."""

    time: float
    kind: str
    duid: str
    address: IPv6Address | None
    xid: int
    words: str

    @property
    def grants(self) -> bool:
        """Whether the client may use the address now."""
        return self.kind == "REPLY" and self.address is not None and self.words not in REFUSALS


@dataclass(frozen=True, slots=True)
class ServerLease6:
    """An IPv6 lease in the server's file. `expires` is in Unix seconds."""

    expires: int
    iaid: int
    address: IPv6Address
    hostname: str | None
    duid: str


@dataclass(frozen=True, slots=True)
class DhcpServer(Daemon):
    """dnsmasq."""

    name = "dnsmasq"
    started = "IP range"

    interface: str = LAN_BRIDGE

    @property
    def lease_file(self) -> Path:
        """dnsmasq's own format; see `leases`."""
        return self.directory / "dnsmasq.leases"

    def start(self, options: ServerOptions | None = None) -> None:
        """Returns when the server listens."""
        self.launch(*self._argv(options or ServerOptions()), output=self.directory / "dnsmasq.err")

    def restart(self, options: ServerOptions | None = None) -> None:
        """The same leases, other options."""
        self.stop()
        self.start(options)

    def messages(self, mac: str | None = None, kind: str | None = None) -> list[Message]:
        """The DHCP messages in order, of one client and one kind where these are given."""
        found = (message for message in map(message_of, self._settled(self.log)) if message)
        return [m for m in found if mac in (None, m.mac) and kind in (None, m.kind)]

    def kinds(self, mac: str) -> list[str]:
        """The DHCP messages from and to this client in order, in RFC 2131's words: DISCOVER, OFFER."""
        return [message.kind for message in self.messages(mac)]

    def messages6(self, duid: str | None = None, kind: str | None = None) -> list[Message6]:
        """The DHCPv6 messages in order, of one client and one kind where these are given."""
        found = (message for message in map(message6_of, self._settled(self.log)) if message)
        return [m for m in found if duid in (None, m.duid) and kind in (None, m.kind)]

    def kinds6(self, duid: str) -> list[str]:
        """The DHCPv6 messages from and to this client in order: SOLICIT, REPLY.

        One that was sent again because its answer came late counts once, as RFC 8415 section 15 has it.
        """
        return [kind for kind, _ in dict.fromkeys((message.kind, message.xid) for message in self.messages6(duid))]

    def leases(self) -> list[ServerLease]:
        """The IPv4 addresses that the server has leased out now."""
        return [_lease(line) for line in self._settled_lines()[0]]

    def leases6(self) -> list[ServerLease6]:
        """The IPv6 addresses that the server has leased out now."""
        return [_lease6(line) for line in self._settled_lines()[1]]

    def _settled_lines(self) -> tuple[list[str], list[str]]:
        """The lines of IPv4 leases, and those of IPv6 leases."""
        lines = self._settled(lambda: self.lease_file.read_text() if self.lease_file.exists() else "")
        own = next((number for number, line in enumerate(lines) if line.startswith(SERVER_DUID)), len(lines))
        return lines[:own], lines[own + 1 :]

    def _settled(self, read: Callable[[], str]) -> list[str]:
        """The lines of one of its files, once it has done with what it was sent; it writes its leases in place."""

        def lines() -> list[str]:
            """After one of ours; none where it may have been writing."""
            process = self.process
            rest = process and process.rest
            text = read()
            settled = process is None or (rest is not None and rest == process.rest)
            return ["", *text.splitlines()] if settled else []

        return wait_until(lines, "a moment in which dnsmasq has nothing to do")[1:]

    def _argv(self, options: ServerOptions) -> list[str]:
        return [
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--user=root",
            "--no-hosts",
            "--no-resolv",
            "--no-ping",
            "--dhcp-authoritative",
            "--log-dhcp",
            "--bind-interfaces",
            f"--interface={self.interface}",
            f"--dhcp-leasefile={self.lease_file}",
            f"--pid-file={self.directory / 'dnsmasq.own-pid'}",  # of two that begin with the usual one, one would fail
            f"--log-facility={self.log_file}",
            *options.argv(),
        ]


def _lease(line: str) -> ServerLease:
    expires, mac, address, name, client_id = line.split()
    return ServerLease(int(expires), mac, IPv4Address(address), None if name == "*" else name, client_id, line)


def _lease6(line: str) -> ServerLease6:
    expires, iaid, address, name, duid = line.split()
    return ServerLease6(int(expires), int(iaid), IPv6Address(address), None if name == "*" else name, duid)


@cache  # a test that waits for a message reads the whole log again and again
def message6_of(line: str) -> Message6 | None:
    """The DHCPv6 message that a line of the log tells of, if it tells of one."""
    if not (match := LINE6.match(line)):
        return None
    address = IPv6Address(match["address"]) if match["address"] else None
    when, words = _unix_seconds(match["time"]), match["words"] or ""
    return Message6(when, match["kind"], match["duid"], address, int(match["xid"]), words)


@cache
def message_of(line: str) -> Message | None:
    """The DHCP message that a line of the log tells of, if it tells of one."""
    if not (match := LINE.match(line)):
        return None
    address = IPv4Address(match["address"]) if match["address"] else None
    return Message(_unix_seconds(match["time"]), match["kind"], match["mac"], address, match["words"] or "")


def _unix_seconds(words: str) -> float:
    """The log has no year."""
    return time.mktime(time.strptime(f"{time.localtime().tm_year} {words}", "%Y %b %d %H:%M:%S"))
