"""The played host: its clock, the links of endpoints, and the LAN's DHCP server."""

import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface

import pytest

from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Lease
from workers.system.clock import boottime

LEASE_SECONDS = 3600
SERVER = IPv4Address("192.0.2.1")
POOL = [IPv4Address(f"192.0.2.{number}") for number in range(10, 250)]
ON_HOST = ""  # the place of a link that is in no sandbox
EPOCH = 1_800_000_000.0  # the wall clock at the start


class Clock:
    """Stands still unless the test moves it; `install` puts it in the place of all clocks of the process."""

    def __init__(self) -> None:
        self.now = 1000.0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """All clocks go on together, as on a host that is never suspended and whose wall clock is never set."""
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "time", lambda: EPOCH + self.now)
        monkeypatch.setattr(time, "clock_gettime", lambda _: self.now)


@dataclass(slots=True)
class Grant:
    """What the server knows of a client."""

    address: IPv4Address
    expires: float


@dataclass
class Server:
    """A DHCP server that tells clients apart by their identifiers, and keeps an address for its last client.

    `lost` are the clients whose grant the plugin cannot know of: it runs out.
    """

    answers: bool = True
    lost: set[bytes] = field(default_factory=set)
    grants: dict[bytes, Grant] = field(default_factory=dict)

    def grant(self, client: ClientIdentity, wanted: IPv4Address | None) -> Lease:
        """A lease for this client: of the address that it has or wants, if no other client has that."""
        self.lost.discard(client.client_id)
        known, in_use = self.active(), {one.address for one in self.active().values()}
        if client.client_id in known:
            address = known[client.client_id].address
        else:
            address = wanted if wanted is not None and wanted not in in_use else self._free(client, in_use)
        self.grants[client.client_id] = Grant(address, boottime() + LEASE_SECONDS)
        return Lease(IPv4Interface(f"{address}/24"), SERVER, LEASE_SECONDS, boottime(), routers=(SERVER,))

    def release(self, client: ClientIdentity, address: IPv4Address) -> None:
        """The client gives the address back. The server does nothing if it is not the client's (RFC 2131, 4.3.4)."""
        known = self.grants.get(client.client_id)
        if known is not None and known.address == address:
            known.expires = boottime()

    def active(self) -> dict[bytes, Grant]:
        """Those that run, by the client's identifier."""
        return {client: one for client, one in self.grants.items() if one.expires > boottime()}

    def _free(self, client: ClientIdentity, in_use: set[IPv4Address]) -> IPv4Address:
        """Its last one, or one that nobody ever had; else any."""
        last = self.grants.get(client.client_id)
        if last is not None and last.address not in in_use:
            return last.address
        ever = {one.address for one in self.grants.values()}
        return next(one for one in (*(a for a in POOL if a not in ever), *POOL) if one not in in_use)


@dataclass
class Host:
    """`links` has the place of each endpoint's link: ON_HOST, or the path of a sandbox, as dockerd sees it."""

    clock: Clock = field(default_factory=Clock)
    server: Server = field(default_factory=Server)
    links: dict[str, str] = field(default_factory=dict)
