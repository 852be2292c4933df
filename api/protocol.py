"""Docker's JSON: requests of the plugin protocol into the supervisor's messages, its answers back.

The only module that knows the engine's field names and what engines put into them. Names are matched exactly and
unknown fields are ignored, as new engines add some. Sources: moby, libnetwork's `docs/remote.md` and
`drivers/remote/api/api.go`, and recorded requests of real engines. Must not know HTTP.
"""

import posixpath
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

from api.fields import Fields, Json, decode
from supervisor.contract import messages as m
from supervisor.contract.errors import InvalidRequest

# Answered without asking anybody: nothing of these calls is our state, so their bodies are not even looked at. Pools
# and port mappings are the DHCP server's and nobody's: there is nothing to do.
FIXED_ANSWERS: dict[str, Json] = {
    "Plugin.Activate": {"Implements": ["NetworkDriver"]},
    "NetworkDriver.AllocateNetwork": {"Options": {}},
    "NetworkDriver.FreeNetwork": {},
    "NetworkDriver.ProgramExternalConnectivity": {},
    "NetworkDriver.RevokeExternalConnectivity": {},
    "NetworkDriver.DiscoverNew": {},
    "NetworkDriver.DiscoverDelete": {},
}
# "local" is the scope of `docker network create` without swarm; "global" connectivity says that addresses are
# reachable from other hosts. The supervisor only learns that the engine has asked.
GET_CAPABILITIES = "NetworkDriver.GetCapabilities"
CAPABILITIES: Json = {"Scope": "local", "ConnectivityScope": "global"}

_NO_BODY = (
    "the request came without its body: the engine repeats a call whose connection broke, or whose time ran out, "
    "without the body. If a container failed to start, start the container again"
)
_RESERVED = "com.docker.network."
_ID = re.compile(r"[0-9a-z]{12,64}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_INTERFACE = re.compile(rb"(?!\.{1,2}$)[^\s\xa0/:%]{1,15}")  # dev_valid_name() in the kernel, and no pattern for it
_SANDBOX_KEY = re.compile(r"(/[^/]+)*/netns/[0-9A-Za-z][0-9A-Za-z_.-]*")


def parse(method: str, body: bytes) -> m.EngineRequest:
    """The message for a call of one of PARSERS; raises InvalidRequest."""
    if not body.strip():
        raise InvalidRequest(_NO_BODY)
    return PARSERS[method](decode(body))


def _id(request: Fields, key: str) -> str:
    value = request.required_text(key)
    if not _ID.fullmatch(value):
        raise request.refused(key, "an id of 12 to 64 lower-case letters and digits")
    return value


def _mac(interface: Fields) -> str | None:
    """Lower case; a group address cannot be an interface's own (IEEE 802: lowest bit of the first octet)."""
    value = interface.text("MacAddress")
    if value is None:
        return None
    mac = value.lower()
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise interface.refused("MacAddress", "a unicast MAC address like 02:00:5e:10:00:01")
    return mac


def _address(interface: Fields) -> IPv4Interface | None:
    value = interface.text("Address")
    if value is None:
        return None
    refused = interface.refused("Address", "an IPv4 address with prefix length like 192.0.2.7/24")
    try:
        address = IPv4Interface(value)
    except ValueError:
        raise refused from None
    if str(address) != value:  # a netmask, a host mask or no prefix at all
        raise refused
    return address


def _address6(interface: Fields) -> IPv6Interface | None:
    value = interface.text("AddressIPv6")
    if value is None:
        return None
    try:
        return IPv6Interface(value)
    except ValueError:
        raise interface.refused("AddressIPv6", "an IPv6 address with prefix length like fd00::7/64") from None


def _sandbox_key(request: Fields) -> str:
    """The folder depends on dockerd's `--exec-root`; the last two components do not."""
    value = request.required_text("SandboxKey")
    if not _SANDBOX_KEY.fullmatch(value) or posixpath.normpath(value) != value:
        raise request.refused("SandboxKey", "an absolute path that ends in /netns/<name>")
    return value


def _interface_name(options: Fields) -> str | None:
    key = f"{_RESERVED}endpoint.ifname"
    name = options.text(key)
    if name is not None and not _INTERFACE.fullmatch(name.encode()):
        raise options.refused(key, "the name of an interface: 1 to 15 octets without blanks, /, : and %")
    return name


def _exposed_ports(options: Fields) -> frozenset[tuple[int, int]] | None:
    key = f"{_RESERVED}endpoint.exposedports"
    if options.values.get(key) is None:
        return None
    return frozenset((port.number("Proto", 255), port.number("Port", 65535)) for port in options.items(key))


def _published(options: Fields) -> frozenset[tuple[int, int, int]]:
    ports = options.items(f"{_RESERVED}portmap")
    return frozenset(
        (port.number("Proto", 255), port.number("Port", 65535), port.number("HostPort", 65535)) for port in ports
    )


def _dns(options: Fields) -> frozenset[str]:
    """A hint: whatever is not as expected is no name server."""
    servers = options.values.get(f"{_RESERVED}endpoint.dnsservers")
    return frozenset(s for s in servers if isinstance(s, str)) if isinstance(servers, list) else frozenset()


def _create_network(request: Fields) -> m.CreateNetwork:
    """`--ipv6`, which Docker 28 lets through with the null IPAM driver, stands for `-o ipv6=true`."""
    pools = request.items("IPv4Data") + request.items("IPv6Data")
    options = request.fields("Options")
    implied = {"ipv6": "true"} if options.values.get(f"{_RESERVED}enable_ipv6") is True else {}
    return m.CreateNetwork(
        network_id=_id(request, "NetworkID"),
        options=implied | options.fields(f"{_RESERVED}generic").texts(),
        pools=tuple(m.IpamPool(pool.required_text("AddressSpace"), pool.required_text("Pool")) for pool in pools),
    )


def _create_endpoint(request: Fields) -> m.CreateEndpoint:
    interface, options = request.fields("Interface"), request.fields("Options")
    return m.CreateEndpoint(
        network_id=_id(request, "NetworkID"),
        endpoint_id=_id(request, "EndpointID"),
        mac=_mac(interface),
        address=_address(interface),
        address6=_address6(interface),
        options=options.texts(ignored_prefix=_RESERVED),
        exposed_ports=_exposed_ports(options),
        published=_published(options),
        dns=_dns(options),
        interface=_interface_name(options),
    )


def _join(request: Fields) -> m.Join:
    return m.Join(_id(request, "NetworkID"), _id(request, "EndpointID"), _sandbox_key(request))


PARSERS: dict[str, Callable[[Fields], m.EngineRequest]] = {
    "NetworkDriver.CreateNetwork": _create_network,
    "NetworkDriver.DeleteNetwork": lambda request: m.DeleteNetwork(_id(request, "NetworkID")),
    "NetworkDriver.CreateEndpoint": _create_endpoint,
    "NetworkDriver.DeleteEndpoint": lambda request: m.DeleteEndpoint(
        _id(request, "NetworkID"), _id(request, "EndpointID")
    ),
    "NetworkDriver.EndpointOperInfo": lambda request: m.OperInfo(_id(request, "NetworkID"), _id(request, "EndpointID")),
    "NetworkDriver.Join": _join,
    "NetworkDriver.Leave": lambda request: m.Leave(_id(request, "NetworkID"), _id(request, "EndpointID")),
}


def encode(answer: m.Answer) -> Json:
    """The reply to a call of one of PARSERS. An empty object is a reply, an empty body is an error to the engine."""
    match answer:
        case m.Done():
            return {}
        case m.EndpointCreated(address, mac, address6):
            filled = {"Address": address, "AddressIPv6": address6, "MacAddress": mac}
            return {"Interface": {key: str(value) for key, value in filled.items() if value is not None}}
        case m.Joined():
            return _encode_joined(answer)
        case m.OperValues(values):
            return {"Value": values}
        case _:
            raise TypeError(f"{type(answer).__name__} is no answer to a call of the plugin protocol")


def _encode_joined(joined: m.Joined) -> Json:
    """Without a gateway the engine would add a second interface, on docker_gwbridge, unless told not to."""
    gateway = {"DisableGatewayService": True} if joined.gateway is None else {"Gateway": str(joined.gateway)}
    name = {} if joined.name is None else {"DstName": joined.name}
    return {
        "InterfaceName": {"SrcName": joined.source, "DstPrefix": joined.prefix, **name},
        "StaticRoutes": [
            {"Destination": str(route.destination), **_encode_next_hop(route.next_hop)} for route in joined.routes
        ],
        **gateway,
    }


def _encode_next_hop(next_hop: IPv4Address | None) -> Json:
    """RouteType is libnetwork's types.NEXTHOP (0) or types.CONNECTED (1)."""
    return {"RouteType": 1} if next_hop is None else {"RouteType": 0, "NextHop": str(next_hop)}
