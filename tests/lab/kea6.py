"""Kea's DHCPv6 server, with its log and its lease file read as what it saw and leased."""

import csv
import json
import re
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from tests.lab.daemon import Daemon
from tests.lab.network import LAN6, LAN_BRIDGE, SERVER6

LINE = re.compile(
    r" DHCP6_PACKET_(?:RECEIVED|SEND) .*?duid=\[(?P<duid>[0-9a-f:]+)\].*?tid=(?P<xid>\w+).*?: "
    r"(?:trying to send packet )?(?P<kind>[A-Z-]+) \(type "
)
RELEASED, DECLINED = "0", "1"  # in the lease file: a lifetime, a state


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
class Kea6(Daemon):
    """kea-dhcp6. `identifier` is its DUID's: a server with another one is another server."""

    name = "kea6"
    started = "DHCP6_STARTED"

    interface: str = LAN_BRIDGE
    identifier: str = "0123456789"

    @property
    def lease_file(self) -> Path:
        """One line for each change of a lease; see `leases`."""
        return self.directory / "kea-leases6.csv"

    def start(self, options: Kea6Options | None = None) -> None:
        """Returns when the server listens."""
        self.directory.mkdir(parents=True, exist_ok=True)
        # Kea does not start while a process has the number in there, be it a zombie or somebody else.
        (self.directory / "kea6.kea-dhcp6.pid").unlink(missing_ok=True)
        config = self.directory / "kea6.json"
        config.write_text(json.dumps({"Dhcp6": self._config(options or Kea6Options())}))
        # Newer versions write nowhere else than where these say, and take a lock file that all of them share.
        places = [f"KEA_{what}_DIR={self.directory}" for what in ("PIDFILE", "LOG_FILE", "DHCP_DATA")]
        self.launch("env", *places, "KEA_LOCKFILE_DIR=none", "kea-dhcp6", "-c", str(config))

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
        with self.lease_file.open(newline="") as file:
            latest = {row["address"]: row for row in csv.DictReader(file)}
        return [
            Kea6Lease(IPv6Address(a), row["duid"], int(row["iaid"]), row["hostname"], row["state"] == DECLINED)
            for a, row in latest.items()
            if row["valid_lifetime"] != RELEASED
        ]

    def _config(self, options: Kea6Options) -> dict[str, object]:
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
        logger = {"severity": "DEBUG", "debuglevel": 50, "output_options": [{"output": "stdout", "flush": True}]}
        return {
            # In the file of its own choice it would find the DUID of another server of this machine.
            "server-id": {"type": "EN", "enterprise-id": 2495, "identifier": self.identifier, "persist": False},
            "interfaces-config": {"interfaces": [self.interface]},
            "valid-lifetime": options.valid,
            "preferred-lifetime": options.preferred,
            "renew-timer": options.renewal,
            "rebind-timer": options.rebinding,
            "lease-database": {"type": "memfile", "name": str(self.lease_file), "lfc-interval": 0},
            "subnet6": [subnet],
            "loggers": [{"name": "kea-dhcp6", **logger, "severity": "INFO"}, {"name": "kea-dhcp6.packets", **logger}],
        }
