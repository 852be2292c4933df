"""Tells Wi-Fi cards from others."""

from pathlib import Path

SYSFS = Path("/sys/class/net")


def is_wireless(interface: str) -> bool:
    """Whether the interface of that name is a Wi-Fi card."""
    return any((SYSFS / interface / entry).exists() for entry in ("phy80211", "wireless"))
