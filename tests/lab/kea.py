"""Kea, the LAN's DHCP server instead of dnsmasq, with its log and its lease file read as what it saw and leased."""

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import ClassVar

from tests.lab.daemon import Daemon
from tests.lab.network import LAN, LAN_BRIDGE, SERVER

LINE = re.compile(r" DHCP4_PACKET_(?:RECEIVED|SEND) \[hwtype=1 (?P<mac>[0-9a-f:]{17})\].* DHCP(?P<kind>[A-Z]+) \(type ")
RELEASED, DECLINED = "0", "1"  # in the lease file: a lifetime, a state


@dataclass(frozen=True, slots=True)
class KeaOptions:
    """What the server hands out. `lease_time` is in seconds; `raw` are further options, by their codes."""

    first: IPv4Address = LAN[50]
    last: IPv4Address = LAN[99]
    lease_time: int = 60
    router: IPv4Address = SERVER
    reservations: dict[str, IPv4Address] = field(default_factory=dict)
    raw: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeaLease:
    """A lease in the server's file; a declined one belongs to nobody."""

    address: IPv4Address
    mac: str
    hostname: str
    declined: bool
    client_id: str


class KeaDaemon(Daemon):
    """What its servers for both families have in common."""

    __slots__ = ()
    family: ClassVar[int]

    @property
    def lease_file(self) -> Path:
        """One line for each change of a lease; see `rows`."""
        return self.directory / f"kea-leases{self.family}.csv"

    def serve(self, config: Mapping[str, object]) -> None:
        """Returns when the server listens."""
        program = f"kea-dhcp{self.family}"
        self.directory.mkdir(parents=True, exist_ok=True)
        # Kea does not start while a process has the number in there, be it a zombie or somebody else.
        (self.directory / f"{self.name}.{program}.pid").unlink(missing_ok=True)
        logger = {"severity": "DEBUG", "debuglevel": 50, "output_options": [{"output": "stdout", "flush": True}]}
        both = {
            "lease-database": {"type": "memfile", "name": str(self.lease_file), "lfc-interval": 0},
            "loggers": [{"name": program, **logger, "severity": "INFO"}, {"name": f"{program}.packets", **logger}],
        }
        file = self.directory / f"{self.name}.json"
        file.write_text(json.dumps({f"Dhcp{self.family}": {**config, **both}}))
        # Newer versions write nowhere else than where these say, and take a lock file that all of them share.
        places = [f"KEA_{what}_DIR={self.directory}" for what in ("PIDFILE", "LOG_FILE", "DHCP_DATA")]
        self.launch("env", *places, "KEA_LOCKFILE_DIR=none", program, "-c", str(file))

    def rows(self) -> list[dict[str, str]]:
        """What the lease file says of each lease of now."""
        with self.lease_file.open(newline="") as file:
            latest = {row["address"]: row for row in csv.DictReader(file)}
        return [row for row in latest.values() if row["valid_lifetime"] != RELEASED]


@dataclass(frozen=True, slots=True)
class Kea(KeaDaemon):
    """kea-dhcp4."""

    name = "kea"
    started = "DHCP4_STARTED"
    family = 4

    def start(self, options: KeaOptions | None = None) -> None:
        """Returns when the server listens."""
        options = options or KeaOptions()
        subnet = {
            "id": 1,
            "subnet": str(LAN),
            "pools": [{"pool": f"{options.first}-{options.last}"}],
            "reservations": [{"hw-address": mac, "ip-address": str(a)} for mac, a in options.reservations.items()],
            "option-data": [
                {"name": "routers", "data": str(options.router)},
                *({"code": code, "csv-format": False, "data": data.hex()} for code, data in options.raw.items()),
            ],
        }
        self.serve(
            {
                "interfaces-config": {"interfaces": [LAN_BRIDGE]},
                "authoritative": True,
                "valid-lifetime": options.lease_time,
                "subnet4": [subnet],
            }
        )

    def restart(self, options: KeaOptions | None = None) -> None:
        """The same leases, other options."""
        self.stop()
        self.start(options)

    def kinds(self, mac: str) -> list[str]:
        """The DHCP messages from and to this client in order, in RFC 2131's words: DISCOVER, OFFER."""
        found = (LINE.search(line) for line in self.log().splitlines())
        return [match["kind"] for match in found if match and match["mac"] == mac]

    def leases(self) -> list[KeaLease]:
        """What the server has leased out now."""
        return [
            KeaLease(
                IPv4Address(row["address"]), row["hwaddr"], row["hostname"], row["state"] == DECLINED, row["client_id"]
            )
            for row in self.rows()
        ]
