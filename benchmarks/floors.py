"""What the kernel takes for an endpoint's link, and for a broadcast, on a bridge with few and with many ports.

To be run in a network namespace of its own; docs/performance.md has the command. The containers are bare namespaces.
"""

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from statistics import median

from tests.lab.command import run
from workers.acd.arp import ETH_P_ARP, ArpWatch
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import EndpointSpec
from workers.link.kind import link_of
from workers.netlink.changes import change_feed
from workers.netlink.operations import Netlink
from workers.system.namespaces import Namespace, disable_ipv6, new_namespace

PORTS = (5, 200, 1000)
LISTENERS = 1000
SAMPLES = 40
BRIDGE = LinkSpec(LinkKind.BRIDGE, "br0")
PROBE = EndpointSpec("", "probe", BRIDGE, "02:00:00:ff:ff:ff", lease_timeout=0)


def plug(number: int) -> Namespace:
    """One more port, whose other end is up in a namespace of its own."""
    sandbox = new_namespace()
    mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
    spec = EndpointSpec("", str(number), BRIDGE, mac, lease_timeout=0)
    with Netlink() as netlink:
        link_of(spec).make(netlink)
        netlink.move_link(netlink.require_link(spec.container_link), sandbox)
    with sandbox.visit(), Netlink() as netlink:
        disable_ipv6(spec.container_link)
        netlink.raise_link(spec.container_link)
    return sandbox


@contextmanager
def pair() -> Iterator[float]:
    """One that goes again; the milliseconds of the processor that it took."""
    with Netlink() as netlink:
        link = link_of(PROBE)
        before = time.thread_time()
        link.make(netlink)
        took = (time.thread_time() - before) * 1000
        yield took
        link.remove(netlink)


@contextmanager
def listeners() -> Iterator[None]:
    """As many workers have in sandboxes: none is told of what happens here, but the kernel looks at each."""
    with ExitStack() as held, new_namespace() as elsewhere:
        with elsewhere.visit():
            for _ in range(LISTENERS):
                held.enter_context(change_feed())
        yield


def making() -> float:
    """Milliseconds of the processor for a pair."""
    with pair() as took:
        return took


def hearing(oldest: Namespace) -> float:
    """Milliseconds until what is broadcast from a new pair has come through the oldest port, which is served last."""
    with oldest.visit():
        listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))
    with listener, pair():
        talker = ArpWatch(PROBE.container_link, PROBE.mac, IPv4Address("192.0.2.1"))
        before = time.monotonic()
        talker.probe()
        select.select([listener], [], [])
        took = time.monotonic() - before
        talker.close()
    return took * 1000


def typical(sample: Callable[[], float]) -> float:
    """The median of several."""
    return median(sample() for _ in range(SAMPLES))


def main() -> None:
    """Prints a line for each number of ports."""
    run("ip", "link", "add", BRIDGE.parent, "up", "type", "bridge")
    sandboxes: list[Namespace] = []
    for ports in PORTS:
        sandboxes.extend(plug(number) for number in range(len(sandboxes), ports))
        made, heard = typical(making), typical(lambda: hearing(sandboxes[0]))
        with listeners():
            listened = typical(making)
        pairs = f"a pair {made:.2f} ms of the processor, {listened:.2f} beside {LISTENERS} listeners"
        print(f"{ports:5} ports: {pairs}; a broadcast {heard:.2f} ms", flush=True)


if __name__ == "__main__":
    main()
