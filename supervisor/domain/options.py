"""The options that users give, as one table: the values of each, their meaning, and the text of a refusal.

The parser, the refusals and the tables of the README (tests/option_tables.py) are made from it. If an option has both
scopes, the network's value is the default, and a container's own value replaces it.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from supervisor.contract.errors import InvalidRequest
from supervisor.contract.messages import IpamPool
from workers.contract.link import LinkKind, LinkSpec, MacvlanMode
from workers.contract.messages import ClientKind, ConflictCheck, Ipv6

MIN_LEASE_TIMEOUT = 1.0
MAX_LEASE_TIMEOUT = 20.0  # the engine gives a plugin 30 s, and clean-up comes after the last packet
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m)?")
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
INTERFACE = re.compile(r"[^\s/:]{1,15}")  # dev_valid_name() in the kernel
CHOSEN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
COMMAND = "docker network create -d net-dhcp:latest --ipam-driver null -o %s NAME"
RIGHT_COMMAND = COMMAND % "bridge=BRIDGE"
EVERY_MODE = frozenset(LinkKind)

log = logging.getLogger(__name__)


class Scope(StrEnum):
    """The object that takes an option."""

    NETWORK = "network"  # docker network create -o KEY=VALUE
    ENDPOINT = "endpoint"  # docker run --network name=NET,driver-opt=KEY=VALUE


@dataclass(frozen=True, slots=True)
class Option:
    """One row. `field` is the attribute of NetworkOptions or EndpointOptions that it sets.

    `parse` raises ValueError, whose text says why the value is wrong. `default` and `help` are for the README. `modes`
    are the values of `mode` that it fits.
    """

    name: str
    field: str
    scopes: tuple[Scope, ...]
    parse: Callable[[str], object]
    default: str
    help: str
    modes: frozenset[LinkKind] = EVERY_MODE


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """The options of a network: either `bridge` or `parent` is there. `lease_timeout` is in seconds."""

    bridge: str | None = None
    lease_timeout: float = 10.0
    ignore_conflicts: bool = False
    skip_routes: bool = False
    drop_expired: bool = False
    keep_lease: bool = False
    mac_by_name: bool = False
    conflict: ConflictCheck = ConflictCheck.DETECT
    client: ClientKind = ClientKind.UDHCPC
    ipv6: Ipv6 = Ipv6.OFF
    parent: str | None = None
    mode: LinkKind = LinkKind.BRIDGE
    macvlan_mode: MacvlanMode = MacvlanMode.BRIDGE

    @property
    def link(self) -> LinkSpec:
        """The link of each endpoint."""
        return LinkSpec(self.mode, self.bridge or self.parent or "", self.macvlan_mode)

    @property
    def named_by(self) -> str:
        """The option that names the interface."""
        return "bridge" if self.bridge else "parent"


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """The options of a container's endpoint. If a field is None, the network's value holds."""

    requested: IPv4Address | None = None
    id: str | None = None
    keep_lease: bool | None = None
    requested6: IPv6Address | None = None


def _interface(text: str) -> str:
    if not INTERFACE.fullmatch(text) or text in (".", ".."):
        raise ValueError(f"{text!r} cannot be the name of an interface")
    return text


def _boolean(text: str) -> bool:
    if text.lower() not in BOOLEANS:
        raise ValueError(f"{text!r} is neither true nor false")
    return BOOLEANS[text.lower()]


def _choice(meanings: Mapping[str, object]) -> Callable[[str], object]:
    def parse(text: str) -> object:
        if text not in meanings:
            raise ValueError(f"{text!r} is none of {', '.join(meanings)}{_did_you_mean(text, meanings)}")
        return meanings[text]

    return parse


def _lease_timeout(text: str) -> float:
    match = DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration such as 10s, 1500ms or 0.5m")
    seconds = float(match[1]) * UNIT_SECONDS[match[2]]
    if seconds < MIN_LEASE_TIMEOUT:
        raise ValueError(f"{text} is too short for DHCP; at least {MIN_LEASE_TIMEOUT:g}s")
    if seconds > MAX_LEASE_TIMEOUT:
        log.warning("option lease_timeout: %s cut to %gs, as the engine waits 30 s in all", text, MAX_LEASE_TIMEOUT)
    return min(seconds, MAX_LEASE_TIMEOUT)


def _chosen_id(text: str) -> str:
    if not CHOSEN_ID.fullmatch(text):
        raise ValueError(f"{text!r} is not made of 1 to 64 letters, digits and _ . -")
    return text


def _requested(text: str) -> IPv4Address:
    try:
        address = IPv4Address(text.partition("/")[0])
    except ValueError:
        raise ValueError(f"{text!r} is no IPv4 address") from None
    if address.is_unspecified or address.is_multicast or address.is_loopback or address.is_reserved:
        raise ValueError(f"{address} cannot be the address of a container")
    return address


def _requested6(text: str) -> IPv6Address:
    try:
        address = IPv6Address(text.partition("/")[0])
    except ValueError:
        raise ValueError(f"{text!r} is no IPv6 address") from None
    if not (address.is_global or address.is_private) or address.is_unspecified or address.is_loopback:
        raise ValueError(f"{address} cannot be the address of a container")
    if address.is_multicast or address.is_link_local:
        raise ValueError(f"{address} cannot be the address of a container")
    return address


NETWORK, ENDPOINT = (Scope.NETWORK,), (Scope.ENDPOINT,)
BRIDGED = frozenset({LinkKind.BRIDGE})
CARDS = MACVLAN = frozenset({LinkKind.MACVLAN})
OPTIONS = (
    Option(
        "bridge",
        "bridge",
        NETWORK,
        _interface,
        "none, required without `parent`",
        "the bridge that the LAN is on",
        BRIDGED,
    ),
    Option(
        "client",
        "client",
        NETWORK,
        _choice({kind.value: kind for kind in ClientKind}),
        "`udhcpc`",
        "who renews a running container's lease. `udhcpc` is BusyBox's client, a process for each container. `native` "
        "is the plugin's own: no process, no second DHCPDISCOVER at a start, and the server's renewal times are kept",
    ),
    Option(
        "conflict",
        "conflict",
        NETWORK,
        _choice({check.value: check for check in ConflictCheck}),
        "`detect`",
        "does another machine use the address already? `detect` asks the LAN while the lease is obtained, which takes "
        "no time; an answer that comes after the start is mended in the running container. `wait` gives the other "
        "machine 250 ms to answer before each start: for LANs with many fixed addresses. `off` does not ask: for LANs "
        "with a device that wrongly answers for others",
    ),
    Option(
        "expired",
        "drop_expired",
        NETWORK,
        _choice({"keep": False, "drop": True}),
        "`keep`",
        "what happens to an address whose lease has run out because no server has answered for so long: `keep` leaves "
        "it on the container, which goes on working while your router is away; `drop` takes it off, as the standard "
        "wants, for LANs where addresses are scarce and may belong to somebody else by then",
    ),
    Option(
        "id",
        "id",
        ENDPOINT,
        _chosen_id,
        "none",
        "whose MAC address the container gets: the one that the last container with this id had on this network. 1 to "
        "64 letters, digits, `_`, `.` and `-`; see [Pin it](#pin-it)",
    ),
    Option(
        "ignore_conflicts",
        "ignore_conflicts",
        NETWORK,
        _boolean,
        "`false`",
        "`true` accepts a bridge or parent that another network uses, or on which Docker itself hands out addresses",
    ),
    Option("ip", "requested", ENDPOINT, _requested, "none", "the address to ask the DHCP server for"),
    Option("ip6", "requested6", ENDPOINT, _requested6, "none", "the IPv6 address to ask the DHCPv6 server for"),
    Option(
        "ipv6",
        "ipv6",
        NETWORK,
        _choice({"false": Ipv6.OFF} | {mode.value: mode for mode in Ipv6 if mode is not Ipv6.OFF}),
        "`false`",
        "the container's IPv6 address. `true` gets it from the DHCPv6 server, beside the IPv4 one; `only` does the "
        "same without IPv4. `slaac` makes it from the prefix that your router advertises. `auto` does what the router "
        "advertisement says, as other machines of the LAN do",
    ),
    Option(
        "lease_timeout",
        "lease_timeout",
        NETWORK,
        _lease_timeout,
        "`10s`",
        "how long a starting container waits for its first lease: `1s` to `20s`; more is cut to `20s`, as Docker waits "
        "30 s in all. `1500ms` and `0.2m` are understood",
    ),
    Option(
        "mac",
        "mac_by_name",
        NETWORK,
        _choice({"random": False, "name": True}),
        "`random`",
        "`name` derives a container's MAC address from the network and the container's name, so that it stays when you "
        "remove the container and make it again: see [Pin it](#pin-it)",
    ),
    Option(
        "macvlan_mode",
        "macvlan_mode",
        NETWORK,
        _choice({mode.value: mode for mode in MacvlanMode}),
        "`bridge`",
        "which other containers on the parent a container reaches: `bridge` all, directly; `private` none; `vepa` "
        "those whose frames the switch sends back (802.1Qbg). `passthru` is for one container that has the parent for "
        "itself: the parent takes its MAC address meanwhile",
        MACVLAN,
    ),
    Option(
        "mode",
        "mode",
        NETWORK,
        _choice({kind.value: kind for kind in LinkKind}),
        "follows `bridge` or `parent`",
        "how a container is connected: `bridge` makes it a port of a bridge, `macvlan` gives it an interface of its "
        "own on a network card: see [Without a bridge](#without-a-bridge)",
    ),
    Option(
        "parent",
        "parent",
        NETWORK,
        _interface,
        "none",
        "the network card that the LAN is on, in place of a bridge",
        CARDS,
    ),
    Option(
        "release",
        "keep_lease",
        (Scope.NETWORK, Scope.ENDPOINT),
        _choice({"leave": False, "keep": True}),
        "`leave`",
        "`leave` gives a lease back when its container stops, so that others can have the address; `keep` lets it run "
        "out, so that no other client gets it while the container is away. For `keep` the server must have enough "
        "addresses",
    ),
    Option(
        "skip_routes",
        "skip_routes",
        NETWORK,
        _boolean,
        "`false`",
        "`true` leaves out all routes but the default one: neither the host's static routes over the bridge or parent "
        "nor those that the DHCP server names (options 33, 121 and 249) get into containers",
    ),
)


def options_of(scope: Scope) -> dict[str, Option]:
    """The table's rows of one scope, by name."""
    return {option.name: option for option in OPTIONS if scope in option.scopes}


def parse_network_options(options: Mapping[str, str]) -> NetworkOptions:
    """From `docker network create -o key=value`. Raises InvalidRequest, which names the option."""
    values = _parsed(options, Scope.NETWORK)
    named = values.keys() & {"bridge", "parent"}
    if not named:
        raise InvalidRequest(_interface_missing(values.get("mode")))
    if len(named) > 1:
        raise InvalidRequest(
            "options bridge and parent exclude each other: a container is either a port of a bridge, or a macvlan of a "
            "network card"
        )
    mode = values.setdefault("mode", LinkKind.BRIDGE if "bridge" in named else LinkKind.MACVLAN)
    _refuse_unfit(options, mode)
    return NetworkOptions(**values)


def parse_endpoint_options(options: Mapping[str, str]) -> EndpointOptions:
    """From `--network name=NET,driver-opt=key=value`. Raises InvalidRequest, which names the option."""
    return EndpointOptions(**_parsed(options, Scope.ENDPOINT))


def for_endpoint(network: NetworkOptions, endpoint: EndpointOptions) -> NetworkOptions:
    """The network's options, in which the endpoint's own values replace the network's."""
    own = {option.field: getattr(endpoint, option.field) for option in OPTIONS if len(option.scopes) > 1}
    return replace(network, **{field: value for field, value in own.items() if value is not None})


def require_null_ipam(pools: tuple[IpamPool, ...]) -> None:
    """Raises InvalidRequest if Docker would hand out addresses itself."""
    if any(pool.address_space != "null" for pool in pools):
        raise InvalidRequest(
            "addresses come from the LAN's DHCP server, so Docker must not assign any: "
            f"use the null IPAM driver, without --subnet and --gateway: {RIGHT_COMMAND}"
        )


def _parsed(options: Mapping[str, str], scope: Scope) -> dict[str, Any]:
    """The values by field."""
    _refuse_unknown(options, scope)
    known = options_of(scope)
    values: dict[str, Any] = {}
    for name, text in options.items():
        try:
            values[known[name].field] = known[name].parse(text)
        except ValueError as error:
            raise InvalidRequest(f"option {name}: {error}") from None
    return values


def _interface_missing(mode: LinkKind | None) -> str:
    """The refusal of a network that names no interface; without a mode there are two ways."""
    ways = {"bridge": (BRIDGED, "which bridge is the LAN on?"), "parent": (CARDS, "which network card is the LAN on?")}
    fitting = {name: question for name, (modes, question) in ways.items() if mode is None or mode in modes}
    commands = ", or ".join(f"{question} {COMMAND % f'{name}={name.upper()}'}" for name, question in fitting.items())
    return f"option {' or '.join(fitting)} is missing: {commands}"


def _refuse_unfit(options: Mapping[str, str], mode: LinkKind) -> None:
    """Raises InvalidRequest for an option that has no meaning in this mode."""
    for option in options_of(Scope.NETWORK).values():
        if option.name in options and mode not in option.modes:
            fitting = " or ".join(f"mode={kind}" for kind in LinkKind if kind in option.modes)
            raise InvalidRequest(f"option {option.name} does not fit mode={mode}; it fits {fitting}")


def _refuse_unknown(options: Mapping[str, str], scope: Scope) -> None:
    known = options_of(scope)
    for name in options.keys() - known.keys():
        elsewhere = any(option.name == name for option in OPTIONS)
        hint = f"; it is an option of a {OTHER[scope]}" if elsewhere else _did_you_mean(name, known)
        raise InvalidRequest(f"unknown option {name!r}{hint}; a {TAKES[scope]} takes {', '.join(known)}")


TAKES = {Scope.NETWORK: "network", Scope.ENDPOINT: "container"}
OTHER = {
    Scope.NETWORK: "container (docker run --network name=NETWORK,driver-opt=NAME=VALUE)",
    Scope.ENDPOINT: "network (docker network create -o NAME=VALUE)",
}


def _did_you_mean(text: str, known: Mapping[str, object]) -> str:
    from difflib import get_close_matches  # needed only for a refusal

    close = get_close_matches(text.lower(), known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
