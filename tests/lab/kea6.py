"""Kea's DHCPv6 server, with its log and its lease file read as what it saw and leased."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from tests.lab.kea import DECLINED, KeaDaemon
from tests.lab.network import LAN6, LAN_BRIDGE, SERVER6

LINE = re.compile(
    r" DHCP6_PACKET_(?:RECEIVED|SEND) .*?duid=\[(?P<duid>[0-9a-f:]+)\].*?tid=(?P<xid>\w+).*?: "
    r"(?:trying to send packet )?(?P<kind>[A-Z-]+) \(type "
)


@dataclass(frozen=True, slots=True)
class Kea6Options:
    """What the server hands out. Times are in seconds; with `preference` other than 0 it sends option 7."""

    network: IPv6Network = LAN6
    first: int = 0x2000
    last: int = 0x20FF
    valid: int = 60
    preferred: int = 40
    renewal: int = 10
    rebinding: int = 25
    rapid_commit: bool = False
    preference: int = 0


@dataclass(frozen=True, slots=True)
class Kea6Lease:
    """A lease in the server's file; no client has a declined one."""

    address: IPv6Address
    duid: str
    iaid: int
    hostname: str
    declined: bool


@dataclass(frozen=True, slots=True)
class Kea6(KeaDaemon):
    """kea-dhcp6. `identifier` is its DUID's: a server with another one is another server."""

    name = "kea6"
    started = "DHCP6_STARTED"
    family = 6

    interface: str = LAN_BRIDGE
    identifier: str = "0123456789"

    def start(self, options: Kea6Options | None = None) -> None:
        """Returns when the server listens."""
        options = options or Kea6Options()
        data: list[dict[str, object]] = [
            {"name": "dns-servers", "data": str(SERVER6)},
            {"name": "domain-search", "data": "lan"},
        ]
        if options.preference:
            data.append({"name": "preference", "data": str(options.preference), "always-send": True})
        subnet = {
            "id": 1,
            "subnet": str(options.network),
            "interface": self.interface,
            "pools": [{"pool": f"{options.network[options.first]}-{options.network[options.last]}"}],
            "rapid-commit": options.rapid_commit,
            "option-data": data,
        }
        self.serve(
            {
                # In the file of its own choice it would find the DUID of another server of this machine.
                "server-id": {"type": "EN", "enterprise-id": 2495, "identifier": self.identifier, "persist": False},
                "interfaces-config": {"interfaces": [self.interface]},
                "valid-lifetime": options.valid,
                "preferred-lifetime": options.preferred,
                "renew-timer": options.renewal,
                "rebind-timer": options.rebinding,
                "subnet6": [subnet],
            }
        )

    def restart(self, options: Kea6Options | None = None) -> None:
        """The same leases, other options."""
        self.stop()
        self.start(options)

    def kinds(self, duid: str) -> list[str]:
        """The DHCPv6 messages from and to this client in order: SOLICIT, ADVERTISE. A repetition is none."""
        found = (LINE.search(line) for line in self.log().splitlines())
        ours = ((match["kind"], match["xid"]) for match in found if match and match["duid"] == duid)
        return [kind for kind, _ in dict.fromkeys(ours)]

    def leases(self) -> list[Kea6Lease]:
        """What the server has leased out now."""
        return [
            Kea6Lease(
                IPv6Address(row["address"]), row["duid"], int(row["iaid"]), row["hostname"], row["state"] == DECLINED
            )
            for row in self.rows()
        ]
