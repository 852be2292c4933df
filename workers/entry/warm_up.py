"""What a worker does first, done before that and to no effect.

pyroute2 puts the class of a message together when it is first used, and Python adapts code that runs often. Workers
that are forked afterwards share both. Without it each container takes 0.13 MB more, a fifth. Must change nothing.
"""

import math
import os
import socket
from contextlib import closing, suppress
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from multiprocessing import Pipe

from workers.contract.client_identity import ClientIdentity
from workers.contract.exchange import Kind
from workers.contract.lease import DEFAULT_DESTINATION, Lease, Route
from workers.contract.link import LinkKind, LinkSpec, MacvlanMode
from workers.contract.messages import Attach, Created, EndpointSpec, Ipv6, LeaseObtained
from workers.dhcp4.codec import encode
from workers.dhcp4.lease_parser import parse_lease
from workers.endpoint.clients import Renewal
from workers.endpoint.worker import Worker
from workers.entry.handover import Rest, pack, receive, send, unpack
from workers.entry.renewals import await_work
from workers.netlink import rtnetlink
from workers.netlink.operations import Netlink, NetlinkError
from workers.netlink.rtnetlink import RTPROT_DHCP, KernelRoute, Link
from workers.system.alarm import Alarm
from workers.system.clock import boottime
from workers.system.namespaces import Namespace, current

RENEWAL = b"renew\0\0"
ROUNDS = 3  # more change nothing that could be measured
ADDRESS6, ROUTER6 = IPv6Interface("2001:db8::2/128"), IPv6Address("fe80::1")
MAC, ADDRESS, ROUTER = "02:00:00:00:00:01", IPv4Interface("192.0.2.2/24"), IPv4Address("192.0.2.1")
SPEC = EndpointSpec(
    "", "", LinkSpec(LinkKind.BRIDGE, "br0"), MAC, ClientIdentity.of_mac(MAC, "h"), 10.0, ipv6=Ipv6.AUTO
)
BRIDGE = Link(1, "br0", MAC, up=True, carrier=True, operational=True, kind="bridge", mtu=1500)
WORDS = {"ip": "192.0.2.2", "subnet": "255.255.255.0", "router": "192.0.2.1", "lease": "600", "serverid": "192.0.2.1"}


def warm_up() -> None:
    """Takes a few milliseconds; what fails will fail in a worker, which says why."""
    with suppress(OSError, NetlinkError):
        for _ in range(ROUNDS):
            _ask_kernel()
    for _ in range(ROUNDS):
        _make_messages()
        encode(Kind.DISCOVER, 1, MAC, SPEC.client_identity, broadcast=True, requested=ADDRESS.ip)
        lease = parse_lease(WORDS, boottime())
        _report(lease)
        with suppress(OSError):  # only root may enter a namespace
            _renew()
            _hand_over(lease)


def _hand_over(lease: Lease) -> None:
    """As a turn does to its sleeper, and the sleeper to the next one."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor, channel = Pipe()
    with near, far, supervisor, current() as place, closing(Worker(SPEC, channel, [lease], {lease.family})) as worker:
        state, numbers = pack(worker)
        send(Rest(worker.name, state, numbers, numbers, None, [0], place.fileno(), far.fileno()))
        rest = receive(near)
        assert rest is not None
        with closing(unpack(rest.state, rest.numbers, Worker)) as again:
            again.bind()
        os.close(rest.far)
        with Namespace(rest.place) as there:
            there.enter()


def _renew() -> None:
    """As a sleeper takes a renewal; the alarm is due at once, so that the wait ends."""
    supervisor, channel = Pipe()
    script, events = socket.socketpair()
    log, udhcpc = socket.socketpair()
    with supervisor, channel, script, events, log, udhcpc, closing(Alarm()) as alarm:
        script.send(RENEWAL)
        udhcpc.send(b"\n")
        numbers = (events.fileno(), log.fileno(), math.inf, channel.fileno(), alarm.fileno())
        expected = Renewal(RENEWAL, 0.0, *numbers)
        await_work([events.fileno(), alarm.fileno(), channel.fileno(), log.fileno()], expected)


def _ask_kernel() -> None:
    """Answers of each kind, about the link that each namespace has."""
    with Netlink() as netlink:
        loopback = netlink.require_link("lo")
        netlink.addresses(loopback.index)
        netlink.addresses6(loopback)
        netlink.routes(loopback.index)


def _make_messages() -> None:
    """Those that would change something are not sent."""
    route = KernelRoute(Route(DEFAULT_DESTINATION, ROUTER), 1, RTPROT_DHCP)
    for message in (
        rtnetlink.veth_pair("dh-0", MAC, BRIDGE, "dc-0", MAC),
        rtnetlink.macvlan("dc-0", MAC, BRIDGE, MacvlanMode.BRIDGE),
        rtnetlink.ipvlan("dc-0", BRIDGE),
        rtnetlink.named_link("dc-0", up=True),
        rtnetlink.changed_link(1, mtu=1500),
        rtnetlink.encode_address(1, ADDRESS),
        rtnetlink.encode_route(1, route),
        rtnetlink.encode_address6(1, ADDRESS6, 600, 300),
        rtnetlink.encode_default6(1, ROUTER6, 1, 30),
    ):
        message.reset()
        message.encode()


def _report(lease: Lease) -> None:
    one, other = Pipe()
    with one, other:
        for message in (Created((lease,), ()), Attach("/", None, ROUTER), LeaseObtained(lease)):
            one.send(message)
            other.recv()
