"""What a worker's state consists of: nothing else is handed from turn to turn.

A type that is missing here ends the next turn, and the log names it. What a type holds must be bounded where it is
made: a message has room for `workers.entry.handover.MAX_STATE_BYTES`.
"""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from workers.acd.arp import ArpWatch
from workers.acd.defence import Defence
from workers.acd.probe import AddressProbe
from workers.acd.solicitation import NeighbourWatch
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family, Lease, Lease6, Route
from workers.contract.link import LinkKind, LinkSpec, MacvlanMode
from workers.contract.messages import Attach, ClientKind, ConflictCheck, EndpointSpec, Ipv6, UseResolver
from workers.dhcp.effects import Granted, Refused, Unanswered, Unusable
from workers.dhcp.machine import Tally
from workers.dhcp4.machine import Machine, State
from workers.dhcp4.native import NativeClient
from workers.dhcp4.packet_socket import PacketSocket
from workers.dhcp4.udhcpc import Client, GaveUp, Records
from workers.dhcp6 import machine as machine6
from workers.dhcp6.first_lease import Exchange6
from workers.dhcp6.native import NativeClient6
from workers.dhcp6.packet_socket import PacketSocket6
from workers.dhcp6.router_advertisement import Prefix, RouterAdvertisement
from workers.endpoint.clients import Clients
from workers.endpoint.examination import Examination
from workers.endpoint.lease_manager import LeaseManager
from workers.endpoint.lease_manager6 import LeaseManager6
from workers.endpoint.lease_timers import LeaseTimers
from workers.endpoint.sandbox import HostAsSandbox, Sandbox
from workers.endpoint.worker import Worker
from workers.link.host_macvlan import HostMacvlan
from workers.link.ipvlan import Ipvlan
from workers.link.macvlan import Macvlan
from workers.link.placement import Placement
from workers.link.placement6 import Placement6
from workers.link.veth_bridge import VethOnBridge
from workers.netlink.rtnetlink import Link
from workers.resolver.forwarder import Forwarder, Question
from workers.resolver.resolver import Resolver
from workers.system.alarm import Alarm
from workers.system.backoff import Backoff
from workers.system.deadlines import Deadlines

_TYPES = (
    # What was asked for and what was granted.
    *(EndpointSpec, ClientIdentity, LinkSpec, LinkKind, MacvlanMode, ConflictCheck, ClientKind, Ipv6, Attach),
    *(Lease, Lease6, Family, Route, IPv4Address, IPv4Interface, IPv4Network, UseResolver),
    *(IPv6Address, IPv6Interface, IPv6Network),
    # The worker and its parts.
    *(Worker, VethOnBridge, Macvlan, HostMacvlan, Ipvlan, Link, Sandbox, HostAsSandbox),
    *(LeaseManager, Examination, LeaseTimers, Placement),
    *(AddressProbe, ArpWatch, Defence, LeaseManager6, Placement6, NeighbourWatch, Resolver, Forwarder, Question),
    # The clients.
    *(Clients, Client, Records, NativeClient, Machine, State, Tally, PacketSocket),
    *(Granted, Refused, Unusable, Unanswered, GaveUp),
    *(NativeClient6, machine6.Machine, machine6.State, PacketSocket6),
    *(Exchange6, RouterAdvertisement, Prefix),
    *(Alarm, Backoff, Deadlines),
)
# `getattr` makes the bound methods that are called at a deadline.
TYPES: dict[str, object] = {f"{thing.__module__}.{thing.__qualname__}": thing for thing in (*_TYPES, getattr)}
