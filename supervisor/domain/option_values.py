"""The values of options: a parser for each form, which raises ValueError with the reason as its text."""

import logging
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address

from workers.contract.client_identity import MAX_OCTETS, OCTETS, id_of_text, legal_hostname
from workers.contract.link import VLAN_NUMBERS
from workers.contract.messages import NO_GATEWAY, PARENTS_MTU

MIN_LEASE_TIMEOUT = 1.0
MAX_LEASE_TIMEOUT = 20.0  # the engine gives a plugin 30 s, and clean-up comes after the last packet
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m)?")
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
INTERFACE = re.compile(r"[^\s/:]{1,15}")  # dev_valid_name() in the kernel
MIN_MTU, MAX_MTU = 576, 65535  # the least that every host must be able to receive (RFC 791)
CHOSEN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
HEX_LIKE = re.compile(r"(?=.*:)[0-9A-Fa-f:]+")

log = logging.getLogger(__name__)


def interface(text: str) -> str:
    """The name of an interface."""
    if not INTERFACE.fullmatch(text) or text in (".", ".."):
        raise ValueError(f"{text!r} cannot be the name of an interface")
    return text


def boolean(text: str) -> bool:
    """True or false."""
    if text.lower() not in BOOLEANS:
        raise ValueError(f"{text!r} is neither true nor false")
    return BOOLEANS[text.lower()]


def one_of(meanings: Mapping[str, object]) -> Callable[[str], object]:
    """A parser of these words."""

    def parse(text: str) -> object:
        if text not in meanings:
            raise ValueError(f"{text!r} is none of {', '.join(meanings)}{did_you_mean(text, meanings)}")
        return meanings[text]

    return parse


def vlan(text: str) -> int:
    """The number of a VLAN."""
    if not text.isdecimal() or int(text) not in VLAN_NUMBERS:
        raise ValueError(f"{text!r} is no VLAN: it takes {VLAN_NUMBERS[0]} to {VLAN_NUMBERS[-1]}")
    return int(text)


def lease_timeout(text: str) -> float:
    """A duration as Go writes it, in seconds."""
    match = DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration such as 10s, 1500ms or 0.5m")
    seconds = float(match[1]) * UNIT_SECONDS[match[2]]
    if seconds < MIN_LEASE_TIMEOUT:
        raise ValueError(f"{text} is too short for DHCP; at least {MIN_LEASE_TIMEOUT:g}s")
    if seconds > MAX_LEASE_TIMEOUT:
        log.warning("option lease_timeout: %s reduced to %gs, as the engine waits 30 s in all", text, MAX_LEASE_TIMEOUT)
    return min(seconds, MAX_LEASE_TIMEOUT)


def chosen_id(text: str) -> str:
    """The id of an identity."""
    if not CHOSEN_ID.fullmatch(text):
        raise ValueError(f"{text!r} is not made of 1 to 64 letters, digits and _ . -")
    return text


def requested_address(text: str) -> IPv4Address:
    """An address, which may come with its prefix length."""
    return _unicast(text.partition("/")[0], "a container")


def requested6_address(text: str) -> IPv6Address:
    """An IPv6 address, which may come with its prefix length."""
    try:
        address = IPv6Address(text.partition("/")[0])
    except ValueError:
        raise ValueError(f"{text!r} is no IPv6 address") from None
    never = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    if never or not (address.is_global or address.is_private):
        raise ValueError(f"{address} cannot be the address of a container")
    return address


def _unicast(text: str, whose: str) -> IPv4Address:
    try:
        address = IPv4Address(text)
    except ValueError:
        raise ValueError(f"{text!r} is no IPv4 address") from None
    if address.is_unspecified or address.is_multicast or address.is_loopback or address.is_reserved:
        raise ValueError(f"{address} cannot be the address of {whose}")
    return address


def gateway(text: str) -> IPv4Address | None:
    """What replaces the gateway of a lease; None for nothing."""
    words = {"lease": None, "none": NO_GATEWAY}
    if text in words:
        return words[text]
    try:
        return _unicast(text, "a router")
    except ValueError as error:
        raise ValueError(f"{error}; it is an IPv4 address, lease or none{did_you_mean(text, words)}") from None


def mtu(text: str) -> int | None:
    """What replaces the MTU of a lease; None for nothing."""
    words = {"lease": None, "parent": PARENTS_MTU}
    if text in words:
        return words[text]
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and MIN_MTU <= int(text) <= MAX_MTU):
        allowed = f"a number from {MIN_MTU} to {MAX_MTU}, lease or parent"
        raise ValueError(f"{text!r} is no MTU; it is {allowed}{did_you_mean(text, words)}")
    return int(text)


def client_id_template(text: str) -> str:
    """A text with a place for what differs between containers: to a server, one identifier means one lease."""
    if "{name}" not in text and "{mac}" not in text:
        raise ValueError(
            f"{text!r} would be the identifier, and so the lease, of all containers: put {{name}} or {{mac}} into it, "
            "or give it to one container (docker run --network name=NETWORK,driver-opt=client_id=VALUE)"
        )
    id_of_text(filled(text, "02:00:00:00:00:00", "n"))
    return text


def filled(template: str, mac: str, name: str) -> str:
    """The client identifier of one container, as a text."""
    return template.replace("{mac}", mac).replace("{name}", name)


def client_id(text: str) -> bytes:
    """The client identifier of one container."""
    if HEX_LIKE.fullmatch(text) and not OCTETS.fullmatch(text):
        raise ValueError(f"{text!r} is not made of octets such as 01:02:00:5e:10:00:01, and no other text either")
    return id_of_text(text)


def hostname(text: str) -> str:
    """A host name, which is legal as it is."""
    legal = (legal_hostname(text) or "")[:MAX_OCTETS].rstrip("-.")
    if legal != text or not text:
        raise ValueError(f"{text!r} is no host name (RFC 1123){f'; did you mean {legal}?' if legal else ''}")
    return text


def did_you_mean(text: str, known: Mapping[str, object]) -> str:
    """The end of a refusal: the likeliest of the known words, if one is likely."""
    from difflib import get_close_matches  # needed only for a refusal

    close = get_close_matches(text.lower(), known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
