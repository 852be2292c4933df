"""The kernel's table of neighbours on the links of the present namespace (arp(7))."""

from collections.abc import Collection
from ipaddress import IPv4Address
from pathlib import Path

ARP_TABLE = Path("/proc/self/net/arp")


def macs_of(addresses: Collection[IPv4Address]) -> set[str]:
    """The MACs of those neighbours among `addresses` that the kernel has talked to."""
    wanted = {str(address) for address in addresses}
    rows = (line.split() for line in ARP_TABLE.read_text(encoding="ascii").splitlines()[1:])
    return {row[3] for row in rows if row[0] in wanted}
