"""The LAN's DHCP and DNS server: dnsmasq, with its log read as a list of DHCP messages."""

import itertools
import re
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from tests.lab.command import wait_until
from tests.lab.daemon import Daemon
from tests.lab.network import LAN, LAN_BRIDGE, SERVER

LINE = re.compile(
    r"^(?P<time>\w{3} [ \d]\d [\d:]{8}) dnsmasq-dhcp\[\d+\]: (?:\d+ )?DHCP(?P<kind>[A-Z]+)\(\S+\)"
    r"(?: (?P<address>\d+\.\d+\.\d+\.\d+))? (?P<mac>[0-9a-f]{2}(?::[0-9a-f]{2}){5})"
)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the server hands out. `lease_time` is in seconds; `extra` are further arguments of dnsmasq."""

    first: IPv4Address = LAN[50]
    last: IPv4Address = LAN[250]
    netmask: IPv4Address = LAN.netmask
    lease_time: int = 120
    router: IPv4Address | None = SERVER
    domain: str = "lan"
    reservations: dict[str, IPv4Address] = field(default_factory=dict)
    extra: tuple[str, ...] = ()

    def argv(self) -> list[str]:
        """As dnsmasq takes them; an empty option 3 keeps it from naming itself as the router."""
        return [
            f"--dhcp-range={self.first},{self.last},{self.netmask},{self.lease_time}",
            f"--dhcp-option=3{f',{self.router}' if self.router else ''}",
            f"--domain={self.domain}",
            f"--local=/{self.domain}/",
            *(f"--dhcp-host={mac},{address}" for mac, address in self.reservations.items()),
            *self.extra,
        ]


@dataclass(frozen=True, slots=True)
class Message:
    """A DHCP message that the server saw or sent. `time` is in Unix seconds, whole ones; `kind` as in RFC 2131."""

    time: float
    kind: str
    mac: str
    address: IPv4Address | None


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
class DhcpServer(Daemon):
    """dnsmasq."""

    name = "dnsmasq"
    started = "DHCP, IP range"

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
        found = (message for message in map(message_of, self.log().splitlines()) if message)
        return [m for m in found if mac in (None, m.mac) and kind in (None, m.kind)]

    def kinds(self, mac: str) -> list[str]:
        """The DHCP messages from and to this client in order, in RFC 2131's words: DISCOVER, OFFER."""
        return [message.kind for message in self.messages(mac)]

    def leases(self) -> list[ServerLease]:
        """The IPv4 addresses that the server has leased out now."""
        lines = wait_until(self._lease_lines, "a moment in which dnsmasq does not write its leases", 5)
        return [_lease(line) for line in itertools.takewhile(lambda line: not line.startswith("duid "), lines[1:])]

    def _lease_lines(self) -> list[str]:
        """The file's lines after one of ours; none where dnsmasq may have been rewriting it, which it does in place."""
        process = self.process
        rest = process and process.rest
        text = self.lease_file.read_text() if self.lease_file.exists() else ""
        settled = process is None or (rest is not None and rest == process.rest)
        return ["", *text.splitlines()] if settled else []

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
            f"--log-facility={self.log_file}",
            *options.argv(),
        ]


def _lease(line: str) -> ServerLease:
    expires, mac, address, name, client_id = line.split()
    return ServerLease(int(expires), mac, IPv4Address(address), None if name == "*" else name, client_id, line)


def message_of(line: str) -> Message | None:
    """The DHCP message that a line of the log tells of, if it tells of one."""
    if not (match := LINE.match(line)):
        return None
    seconds = time.mktime(time.strptime(f"{time.localtime().tm_year} {match['time']}", "%Y %b %d %H:%M:%S"))
    address = IPv4Address(match["address"]) if match["address"] else None
    return Message(seconds, match["kind"], match["mac"], address)
