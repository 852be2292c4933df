"""The options that users give, as one table: the values of each, their meaning, and the text of a refusal.

The parser, the refusals and the tables of the documents (tests/option_tables.py) are made from it. If an option has
both scopes, the network's value is the default, and a container's own value replaces it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from supervisor.contract.errors import InvalidRequest
from supervisor.contract.messages import IpamPool
from supervisor.domain.option_values import (
    boolean,
    chosen_id,
    client_id,
    client_id_template,
    did_you_mean,
    gateway,
    hostname,
    interface,
    lease_timeout,
    mtu,
    one_of,
    requested6_address,
    requested_address,
    vlan,
)
from workers.contract.client_identity import VENDOR_CLASS, ClientIdentity, printable
from workers.contract.link import IpvlanMode, LinkKind, LinkSpec, MacvlanMode
from workers.contract.messages import PARENTS_MTU, ClientKind, ConflictCheck, Ipv6

ANY_DRIVER = "DRIVER"  # this plugin's name, while the engine has not told it: each installation has its own
COMMAND = "docker network create -d {} --ipam-driver null -o {} NAME"
SWARM_WAY = (
    "which a Swarm's manager knows only from a network of each node: docker network create --config-only --ipam-driver "
    "null -o bridge=BRIDGE lan-here on every node, then on a manager docker network create -d {} "
    "--scope swarm --config-from lan-here NAME"
)
SWARM_ID_LENGTH = 25  # of a network's id; one of a single engine has 64
IPV6_MTU = 1280
EVERY_MODE = frozenset(LinkKind)


class Scope(StrEnum):
    """The object that takes an option."""

    NETWORK = "network"  # docker network create -o KEY=VALUE
    ENDPOINT = "endpoint"  # docker run --network name=NET,driver-opt=KEY=VALUE


class Alias(NamedTuple):
    """Another plugin's name of an option, which is true or false there, and this option's values for both."""

    name: str
    when_true: str
    when_false: str


@dataclass(frozen=True, slots=True)
class Option:
    """One row. It sets the attribute `field` of NetworkOptions or EndpointOptions, which has its name as a rule.

    `parse` raises ValueError, whose text says why the value is wrong. `default` and `help` are for the documents.
    `modes` are the values of `mode` that it fits; `unfit` is said beside them in a refusal.
    """

    name: str
    scopes: tuple[Scope, ...]
    parse: Callable[[str], object]
    default: str
    help: str
    modes: frozenset[LinkKind] = EVERY_MODE
    aliases: tuple[Alias, ...] = ()
    unfit: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """The options of a network: either `bridge` or `parent` is there. `lease_timeout` is in seconds.

    EndpointSpec explains `gateway` and `mtu`. `client_id` is a template. Where a class is None, the plugin's own holds.
    """

    bridge: str | None = None
    lease_timeout: float = 10.0
    ignore_conflicts: bool = False
    skip_routes: bool = False
    drop_expired: bool = False
    keep_lease: bool = False
    mac_by_name: bool = False
    conflict: ConflictCheck = ConflictCheck.DETECT
    client: ClientKind = ClientKind.UDHCPC
    lease_dns: bool = False
    ipv6: Ipv6 = Ipv6.OFF
    parent: str | None = None
    mode: LinkKind = LinkKind.BRIDGE
    macvlan_mode: MacvlanMode = MacvlanMode.BRIDGE
    gateway: IPv4Address | None = None
    mtu: int | None = None
    client_id: str | None = None
    vendor_class: str | None = None
    user_class: str | None = None
    hostname_is_id: bool = False
    register_dns: bool = False
    validate_dhcp: bool = False
    host_access: bool = False
    ipvlan_mode: IpvlanMode = IpvlanMode.L2
    vlan: int | None = None
    reconnects: bool = False

    @property
    def link(self) -> LinkSpec:
        """The link of each endpoint."""
        return LinkSpec(self.mode, self.bridge or self.parent or "", self.macvlan_mode, vlan=self.vlan)

    def client_of(self, mac: str, name: str | None = None) -> ClientIdentity:
        """The client with this MAC address and host name, as servers are to know it."""
        made = ClientIdentity.of_mac if self.link.has_own_mac else ClientIdentity.of_seed
        vendor_class = self.vendor_class or VENDOR_CLASS
        return replace(made(mac, name), vendor_class=vendor_class, user_class=self.user_class, fqdn=self.register_dns)

    @property
    def named_by(self) -> str:
        """The option that names the interface."""
        return "bridge" if self.bridge else "parent"


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """The options of a container's endpoint. `instead` has the values that replace the network's, by field."""

    requested: IPv4Address | None = None
    id: str | None = None
    requested6: IPv6Address | None = None
    hostname: str | None = None
    client_id: bytes | None = None
    instead: Mapping[str, object] = field(default_factory=dict)


NETWORK, ENDPOINT, BOTH = (Scope.NETWORK,), (Scope.ENDPOINT,), tuple(Scope)
BRIDGED = frozenset({LinkKind.BRIDGE})
MACVLAN, IPVLAN = frozenset({LinkKind.MACVLAN}), frozenset({LinkKind.IPVLAN})
CARDS = MACVLAN | IPVLAN
SECLUDED = (MacvlanMode.PRIVATE, MacvlanMode.PASSTHRU)
OPTIONS = (
    Option(
        "alike",
        NETWORK,
        one_of({"wait": False, "reconnect": True}),
        "`wait`",
        "what happens to a container that came back with another MAC address, as it started together with others and "
        "[nothing told them apart](identity.md#several-at-once). `wait` leaves it so until its next start. `reconnect` "
        "connects it again with its own MAC address, as soon as Docker says which container it is: see [Connected "
        "again](identity.md#connected-again)",
        field="reconnects",
    ),
    Option("bridge", NETWORK, interface, "none, required without `parent`", "the bridge that the LAN is on", BRIDGED),
    Option(
        "client",
        NETWORK,
        one_of({kind.value: kind for kind in ClientKind}),
        "`udhcpc`",
        "which client renews a running container's lease. `udhcpc` is BusyBox's, with a process for each container. "
        "`native` is the plugin's own client: it needs no process, sends no second DHCPDISCOVER at a start, and keeps"
        " the server's renewal times",
    ),
    Option(
        "client_id",
        NETWORK,
        client_id_template,
        "the MAC address",
        "the client identifier (DHCP option 61), by which the server tells clients apart. It must contain `{name}` or"
        " `{mac}`, which stand for the container's name and MAC address, as in `rack1-{name}`: with one identifier "
        "for all, all containers would get one lease. If the plugin [cannot know the name in "
        "time](identity.md#several-at-once), the MAC address is the identifier for that start",
    ),
    Option(
        "client_id",
        ENDPOINT,
        client_id,
        "the network's",
        "the client identifier (DHCP option 61), by which the server tells clients apart: octets such as "
        "`01:02:00:5e:10:00:01`, or any other text, before which the plugin sends an octet 0 as RFC 2132 wants. At "
        "most 64 octets. Two containers on a network cannot have the same identifier",
    ),
    Option(
        "conflict",
        NETWORK,
        one_of({check.value: check for check in ConflictCheck}),
        "`detect`",
        "whether the plugin looks for another machine that uses the address. `detect` asks the LAN while it obtains "
        "the lease, which costs no time; if an answer comes after the start, the running container gets another "
        "address. `wait` gives other machines 250 ms to answer before each start, for LANs with many fixed addresses."
        " `off` does not ask, for LANs with a device that wrongly answers for others",
    ),
    Option(
        "dns",
        NETWORK,
        one_of({"off": False, "lease": True}),
        "`off`",
        "which servers resolve names that are not containers' names: `off` means those that Docker takes from the "
        "host, and `lease` those of the container's lease, with its search list: see [Names of the "
        "LAN](usage.md#names-of-the-lan)",
        aliases=(Alias("propagate_dns", "lease", "off"),),
        field="lease_dns",
    ),
    Option(
        "expired",
        NETWORK,
        one_of({"keep": False, "drop": True}),
        "`keep`",
        "what happens to an address whose lease has run out because no server answered. `keep` leaves it on the "
        "container, which goes on working while your router is away, and [starts on it](limits.md) again after a "
        "power failure. `drop` takes it off, as RFC 2131 demands, for LANs where addresses are scarce and may belong "
        "to another machine by then",
        field="drop_expired",
    ),
    Option(
        "gateway",
        BOTH,
        gateway,
        "`lease`",
        "the container's IPv4 gateway. `lease` means the server's choice. An address replaces that choice, also after"
        " each renewal. `none` gives the container no default route. The server's other routes stay",
    ),
    Option(
        "hostname",
        NETWORK,
        one_of({"name": False, "id": True}),
        "`name`",
        "the name that the plugin sends to the DHCP server for a container without `--hostname`: the container's "
        "`name`, or its short `id`, which is the container's own host name",
        field="hostname_is_id",
    ),
    Option(
        "hostname",
        ENDPOINT,
        hostname,
        "the container's `--hostname`, or its name",
        "the name that the plugin sends to this network's DHCP server: letters, digits and hyphens, with dots if you "
        "like",
    ),
    Option(
        "host_access",
        NETWORK,
        boolean,
        "`false`",
        "`true` lets the host and the network's containers reach each other. For that the host gets an interface and "
        "an IPv4 address of its own: see [Reach containers from the host](usage.md#reach-containers-from-the-host)",
        MACVLAN,
        unfit=", and on a bridge the host and its containers reach each other anyway",
    ),
    Option(
        "id",
        ENDPOINT,
        chosen_id,
        "none",
        "a name by which the container keeps its MAC address: it gets the MAC address that the last container with "
        "this id had on this network. 1 to 64 letters, digits, `_`, `.` and `-`; see [Pin it](identity.md#pin-it)",
    ),
    Option(
        "ignore_conflicts",
        NETWORK,
        boolean,
        "`false`",
        "`true` accepts a bridge or parent that another network already uses, or on which Docker itself hands out "
        "addresses",
    ),
    Option(
        "ip",
        ENDPOINT,
        requested_address,
        "none",
        "the address that the plugin asks the DHCP server for",
        field="requested",
    ),
    Option(
        "ip6",
        ENDPOINT,
        requested6_address,
        "none",
        "the IPv6 address that the plugin asks the DHCPv6 server for",
        field="requested6",
    ),
    Option(
        "ipv6",
        NETWORK,
        one_of({"false": Ipv6.OFF} | {mode.value: mode for mode in Ipv6 if mode is not Ipv6.OFF}),
        "`false`",
        "where the container's IPv6 address comes from. `true` means the DHCPv6 server, beside an IPv4 address; "
        "`only` means the same without IPv4. `slaac` makes the address from the prefix that your router advertises. "
        "`auto` follows the router's advertisements, as other machines on the LAN do: see [IPv6](ipv6.md)",
    ),
    Option(
        "ipvlan_mode",
        NETWORK,
        one_of({mode.value: mode for mode in IpvlanMode}),
        "`l2`",
        "DHCP needs layer 2, so `l2` is the only value",
        IPVLAN,
    ),
    Option(
        "lease_timeout",
        NETWORK,
        lease_timeout,
        "`10s`",
        "how long a starting container waits for its first lease: `1s` to `20s`. The plugin reduces a longer time to "
        "`20s`, because Docker waits 30 s in all. You may also write `1500ms` or `0.2m`",
    ),
    Option(
        "mac",
        NETWORK,
        one_of({"random": False, "name": True}),
        "`random`",
        "`name` derives a container's MAC address from the network and the container's name, so that it stays the "
        "same when you remove and recreate the container: see [Pin it](identity.md#pin-it). For a task of a Swarm "
        "service, the name is that of its service and slot",
        field="mac_by_name",
    ),
    Option(
        "macvlan_mode",
        NETWORK,
        one_of({mode.value: mode for mode in MacvlanMode}),
        "`bridge`",
        "which other containers on the parent a container reaches. `bridge`: all, directly. `private`: none. `vepa`: "
        "those whose frames the switch sends back (802.1Qbg). `passthru` is for a single container that has the "
        "parent to itself: the parent then has that container's MAC address",
        MACVLAN,
    ),
    Option(
        "mode",
        NETWORK,
        one_of({kind.value: kind for kind in LinkKind}),
        "follows `bridge` or `parent`",
        "how a container is connected. `bridge` makes it a port of a bridge, `macvlan` gives it an interface of its "
        "own on a network card, and `ipvlan` one with the card's MAC address: see [Without a "
        "bridge](usage.md#without-a-bridge)",
    ),
    Option(
        "mtu",
        BOTH,
        mtu,
        "`lease`",
        "the MTU of the container's link. `lease` means the server's choice (DHCP option 26), a number from 576 on "
        "replaces that, and `parent` means the MTU of the host's interface, which is also the largest possible",
        aliases=(Alias("propagate_mtu", "lease", "parent"),),
    ),
    Option(
        "parent",
        NETWORK,
        interface,
        "none",
        "the network card that the LAN is on, instead of a bridge. `eth0.20` is VLAN 20 on `eth0`; if there is no "
        "such interface, the plugin makes it, and removes it with the last network on it",
        CARDS,
    ),
    Option(
        "register_dns",
        NETWORK,
        boolean,
        "`false`",
        "`true` sends a container's name as a client FQDN (DHCP option 81) instead of a host name (option 12), which "
        "asks the server to put the name into the DNS. dnsmasq does so with both; other servers only with this. "
        "DHCPv6 has no other way to send a name (option 39), so a container with IPv6 always sends it there",
    ),
    Option(
        "release",
        BOTH,
        one_of({"leave": False, "keep": True}),
        "`leave`",
        "`leave` releases a lease when its container stops, so that others can have the address. `keep` lets the "
        "lease run out, so that no other client gets the address while the container is away; the server must have "
        "enough addresses for that",
        field="keep_lease",
    ),
    Option(
        "skip_routes",
        NETWORK,
        boolean,
        "`false`",
        "`true` leaves out all routes but the default one: containers get neither the host's static routes over the "
        "bridge or parent, nor those that the DHCP server sends (options 33, 121 and 249)",
    ),
    Option(
        "user_class",
        NETWORK,
        printable,
        "none",
        "the user class (DHCP option 77, DHCPv6 option 15), by which a server can choose a pool or options: 1 to 64 "
        "ASCII characters. As other Linux clients do, the plugin sends it in the form of RFC 3004, after an octet "
        "with its length",
    ),
    Option(
        "validate_dhcp",
        NETWORK,
        boolean,
        "`false`",
        "`true` makes `docker network create` ask for a DHCP server, or with `ipv6=only` for a DHCPv6 server, and "
        "fail if none answers within `lease_timeout`. The question leaves no lease behind",
    ),
    Option(
        "vendor_class",
        BOTH,
        printable,
        "`docker-net-dhcp`",
        "the vendor class (DHCP option 60, DHCPv6 option 16 with the enterprise number 0), by which a server can "
        "choose a pool or options: 1 to 64 ASCII characters",
    ),
    Option(
        "vlan",
        NETWORK,
        vlan,
        "the bridge's own",
        "the VLAN of the containers' ports, `1` to `4094`, on a bridge that filters VLANs, such as Proxmox and "
        "systemd-networkd make. Containers send and receive untagged frames",
        BRIDGED,
    ),
)


def options_of(scope: Scope) -> dict[str, Option]:
    """The table's rows of one scope, by name."""
    return {option.name: option for option in OPTIONS if scope in option.scopes}


def parse_network_options(options: Mapping[str, str], driver: str = ANY_DRIVER) -> NetworkOptions:
    """Reads `docker network create -d driver -o key=value`. Raises InvalidRequest, which names the option."""
    values = _parsed(options, Scope.NETWORK)
    named = values.keys() & {"bridge", "parent"}
    if not named:
        raise InvalidRequest(_interface_missing(values.get("mode"), driver))
    if len(named) > 1:
        raise InvalidRequest(
            "options bridge and parent exclude each other: a container is either a port of a bridge, or a macvlan or "
            "ipvlan of a network card"
        )
    mode = values.setdefault("mode", LinkKind.BRIDGE if "bridge" in named else LinkKind.MACVLAN)
    _refuse_unfit(options, mode)
    return _consistent(NetworkOptions(**values))


def parse_endpoint_options(options: Mapping[str, str]) -> EndpointOptions:
    """Reads `--network name=NET,driver-opt=key=value`. Raises InvalidRequest, which names the option."""
    if not options:
        return EndpointOptions()  # as for nearly all containers
    values = _parsed(options, Scope.ENDPOINT)
    own = {one.name: values.pop(one.name) for one in fields(EndpointOptions) if one.name in values}
    return EndpointOptions(**own, instead=values)


def for_endpoint(network: NetworkOptions, endpoint: EndpointOptions) -> NetworkOptions:
    """The network's options, in which the endpoint's own values replace the network's. Raises InvalidRequest."""
    if not endpoint.instead:
        return network
    return _consistent(replace(network, **dict[str, Any](endpoint.instead)))


def _consistent(options: NetworkOptions) -> NetworkOptions:
    """The options. Raises InvalidRequest if they cannot hold together."""
    if options.ipv6 is not Ipv6.OFF and options.mtu is not None and PARENTS_MTU < options.mtu < IPV6_MTU:
        raise InvalidRequest(
            f"option mtu: {options.mtu} does not go with IPv6, which needs {IPV6_MTU} (RFC 8200); "
            "the kernel would turn IPv6 off"
        )
    if options.host_access and options.macvlan_mode in SECLUDED:
        raise InvalidRequest(
            f"option host_access: with macvlan_mode={options.macvlan_mode} no macvlan reaches another one, and so "
            "neither does the host's; use macvlan_mode=bridge"
        )
    if options.host_access and options.ipv6 is Ipv6.ONLY:
        raise InvalidRequest("option host_access: it is for IPv4, which the containers do not have with ipv6=only")
    return options


def require_null_ipam(network_id: str, pools: tuple[IpamPool, ...], driver: str = ANY_DRIVER) -> None:
    """Raises InvalidRequest if Docker would hand out addresses itself."""
    if any(pool.address_space != "null" for pool in pools):
        plain = "without --subnet and --gateway: " + COMMAND.format(driver, "bridge=BRIDGE")
        way = SWARM_WAY.format(driver) if len(network_id) == SWARM_ID_LENGTH else plain
        raise InvalidRequest(
            f"addresses come from the LAN's DHCP server, so Docker must not assign any: use the null IPAM driver, {way}"
        )


def _parsed(options: Mapping[str, str], scope: Scope) -> dict[str, Any]:
    """The values by field."""
    _refuse_unknown(options, scope)
    values: dict[str, Any] = {}
    for option in options_of(scope).values():
        given = [name for name in (option.name, *(alias.name for alias in option.aliases)) if name in options]
        if len(given) > 1:
            raise InvalidRequest(f"option {given[1]}: it is another name of {given[0]}; give one of them")
        for name in given:
            try:
                values[option.field or option.name] = option.parse(_in_own_words(option, name, options[name]))
            except ValueError as error:
                raise InvalidRequest(f"option {name}: {error}") from None
    return values


def _interface_missing(mode: LinkKind | None, driver: str) -> str:
    """The refusal of a network that names no interface; without a mode there are two ways."""
    ways = {"bridge": (BRIDGED, "which bridge is the LAN on?"), "parent": (CARDS, "which network card is the LAN on?")}
    fitting = {name: question for name, (modes, question) in ways.items() if mode is None or mode in modes}
    commands = (f"{question} {COMMAND.format(driver, f'{name}={name.upper()}')}" for name, question in fitting.items())
    return f"option {' or '.join(fitting)} is missing: {', or '.join(commands)}"


def _refuse_unfit(options: Mapping[str, str], mode: LinkKind) -> None:
    """Raises InvalidRequest for an option that has no meaning in this mode."""
    for option in options_of(Scope.NETWORK).values():
        if option.name in options and mode not in option.modes:
            fitting = " or ".join(f"mode={kind}" for kind in LinkKind if kind in option.modes)
            raise InvalidRequest(f"option {option.name} does not fit mode={mode}; it fits {fitting}{option.unfit}")


def _in_own_words(option: Option, name: str, text: str) -> str:
    """The value that the option has by this name."""
    alias = next((alias for alias in option.aliases if alias.name == name), None)
    return text if alias is None else alias.when_true if boolean(text) else alias.when_false


def _refuse_unknown(options: Mapping[str, str], scope: Scope) -> None:
    known = options_of(scope)
    names = known.keys() | {alias.name for option in known.values() for alias in option.aliases}
    for name in options.keys() - names:
        elsewhere = any(option.name == name for option in OPTIONS)
        hint = f"; it is an option of a {OTHER[scope]}" if elsewhere else did_you_mean(name, known)
        raise InvalidRequest(f"unknown option {name!r}{hint}; a {TAKES[scope]} takes {', '.join(known)}")


TAKES = {Scope.NETWORK: "network", Scope.ENDPOINT: "container"}
OTHER = {
    Scope.NETWORK: "container (docker run --network name=NETWORK,driver-opt=NAME=VALUE)",
    Scope.ENDPOINT: "network (docker network create -o NAME=VALUE)",
}
