"""The options that users give: what is allowed, what it means, what a refusal says."""

import logging
import re
from dataclasses import dataclass
from ipaddress import IPv4Address

from supervisor.contract.errors import InvalidRequest
from supervisor.contract.messages import IpamPool
from workers.contract.messages import ConflictCheck

DEFAULT_LEASE_TIMEOUT = 10.0
MIN_LEASE_TIMEOUT = 1.0
MAX_LEASE_TIMEOUT = 20.0  # the engine gives a plugin 30 s, and clean-up comes after the last packet
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m)?")
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
INTERFACE = re.compile(r"[^\s/:]{1,15}")  # dev_valid_name() in the kernel
NETWORK_OPTIONS = (
    "bridge",
    "conflict",
    "expired",
    "ignore_conflicts",
    "lease_timeout",
    "mac",
    "release",
    "skip_routes",
)
ENDPOINT_OPTIONS = ("id", "ip")
CHOSEN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
RIGHT_COMMAND = "docker network create -d net-dhcp:latest --ipam-driver null -o bridge=BRIDGE NAME"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """`lease_timeout` in seconds.

    `drop_expired`: an address whose lease has run out leaves the link. `keep_lease`: no RELEASE when a container
    stops. `mac_by_name`: the MAC is made of the container's name. `conflict`: when an address is probed for.
    """

    bridge: str
    lease_timeout: float = DEFAULT_LEASE_TIMEOUT
    ignore_conflicts: bool = False
    skip_routes: bool = False
    drop_expired: bool = False
    keep_lease: bool = False
    mac_by_name: bool = False
    conflict: ConflictCheck = ConflictCheck.DETECT


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """`requested` is the address to ask for with option 50; `id` names whose identity the endpoint gets."""

    requested: IPv4Address | None = None
    id: str | None = None


def require_null_ipam(pools: tuple[IpamPool, ...]) -> None:
    """Raises InvalidRequest where Docker would hand out addresses itself."""
    if any(pool.address_space != "null" for pool in pools):
        raise InvalidRequest(
            "addresses come from the LAN's DHCP server, so Docker must not assign any: "
            f"use the null IPAM driver, without --subnet and --gateway: {RIGHT_COMMAND}"
        )


def parse_network_options(options: dict[str, str]) -> NetworkOptions:
    """From `docker network create -o key=value`. Raises InvalidRequest, which names the option."""
    _refuse_unknown(options, NETWORK_OPTIONS)
    bridge = options.get("bridge", "")
    if not bridge:
        raise InvalidRequest(f"option bridge is missing: which bridge is the LAN on? {RIGHT_COMMAND}")
    if not INTERFACE.fullmatch(bridge) or bridge in (".", ".."):
        raise InvalidRequest(f"option bridge: {bridge!r} cannot be the name of an interface")
    return NetworkOptions(
        bridge=bridge,
        lease_timeout=_lease_timeout(options.get("lease_timeout")),
        ignore_conflicts=_boolean(options, "ignore_conflicts"),
        skip_routes=_boolean(options, "skip_routes"),
        drop_expired=_choice(options, "expired", ("keep", "drop")) == "drop",
        keep_lease=_choice(options, "release", ("leave", "keep")) == "keep",
        mac_by_name=_choice(options, "mac", ("random", "name")) == "name",
        conflict=ConflictCheck(_choice(options, "conflict", tuple(ConflictCheck))),
    )


def parse_endpoint_options(options: dict[str, str]) -> EndpointOptions:
    """From `--network name=NET,driver-opt=key=value`. Raises InvalidRequest, which names the option."""
    _refuse_unknown(options, ENDPOINT_OPTIONS)
    chosen = options.get("id")
    if chosen is not None and not CHOSEN_ID.fullmatch(chosen):
        raise InvalidRequest(f"option id: {chosen!r} is not made of 1 to 64 letters, digits and _ . -")
    return EndpointOptions(_requested(options["ip"]) if "ip" in options else None, chosen)


def _requested(text: str) -> IPv4Address:
    try:
        address = IPv4Address(text.partition("/")[0])
    except ValueError:
        raise InvalidRequest(f"option ip: {text!r} is no IPv4 address") from None
    if address.is_unspecified or address.is_multicast or address.is_loopback or address.is_reserved:
        raise InvalidRequest(f"option ip: {address} cannot be the address of a container")
    return address


def _choice(options: dict[str, str], key: str, allowed: tuple[str, ...]) -> str:
    """The first of `allowed` is the default."""
    text = options.get(key, allowed[0])
    if text not in allowed:
        raise InvalidRequest(f"option {key}: {text!r} is none of {', '.join(allowed)}")
    return text


def _refuse_unknown(options: dict[str, str], allowed: tuple[str, ...]) -> None:
    for key in options:
        if key not in allowed:
            raise InvalidRequest(f"unknown option {key!r}; allowed here: {', '.join(allowed)}")


def _boolean(options: dict[str, str], key: str) -> bool:
    text = options.get(key, "false")
    if text.lower() not in BOOLEANS:
        raise InvalidRequest(f"option {key}: {text!r} is neither true nor false")
    return BOOLEANS[text.lower()]


def _lease_timeout(text: str | None) -> float:
    if text is None:
        return DEFAULT_LEASE_TIMEOUT
    match = DURATION.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"option lease_timeout: {text!r} is no duration such as 10s, 1500ms or 0.5m")
    seconds = float(match[1]) * UNIT_SECONDS[match[2]]
    if seconds < MIN_LEASE_TIMEOUT:
        raise InvalidRequest(f"option lease_timeout: {text} is too short for DHCP; at least {MIN_LEASE_TIMEOUT:g}s")
    if seconds > MAX_LEASE_TIMEOUT:
        log.warning("option lease_timeout: %s cut to %gs, as the engine waits 30 s in all", text, MAX_LEASE_TIMEOUT)
    return min(seconds, MAX_LEASE_TIMEOUT)
