"""Containers and endpoints with both address families, beside the engine's own bridges and beside IPv4 alone.

The engine's bridge has a network with both families, too: what the engine itself does for IPv6 costs it as much there.

A build of before need not know such networks, so it takes no part.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.contenders import NETWORKS, Contenders
from benchmarks.endpoint import time_endpoint
from benchmarks.figures import BRIDGE, BRIDGE_DUAL, IPV4, OURS, Figures, in_turn, rounds
from benchmarks.life import CONTAINER, timed_run
from benchmarks.rows import CREATE_DUAL, RUN_DUAL
from benchmarks.sizes import Sizes
from tests.lab.containers import Container
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.network import BRIDGE as LAN_BRIDGE

ONLY_IPV6 = ServerOptions(ipv6=Ipv6Options(), ipv4=False, extra=("--port=0",))  # beside the server of the other rows
DUAL = f"{NETWORKS[OURS]}-dual"
ENGINES_SUBNET6 = "fd00:99::/64"  # the engine hands out addresses itself


def measure_dual(contenders: Contenders, ipv4_network: str, sizes: Sizes, figures: Figures) -> None:
    """Takes so many samples of each, after one round that does not count."""
    container = Container(contenders.docker, CONTAINER)
    runs = {OURS: DUAL, BRIDGE: NETWORKS[BRIDGE], BRIDGE_DUAL: NETWORKS[BRIDGE_DUAL]}
    with _networks(contenders) as dual_network:
        endpoints = {OURS: dual_network, IPV4: ipv4_network}
        endpoint_orders = in_turn(tuple(endpoints))
        for number, run_order in enumerate((tuple(runs), *rounds(tuple(runs), sizes.lives))):
            counted = figures if number else Figures()
            for contender in run_order:
                time.sleep(sizes.pause)
                try:
                    counted.add(RUN_DUAL, contender, timed_run(contenders.docker, runs[contender], CONTAINER))
                finally:
                    container.remove()
            for contender in next(endpoint_orders):
                time.sleep(sizes.pause)
                took = time_endpoint(contenders.plugins[OURS], endpoints[contender])
                counted.add(CREATE_DUAL, contender, took.created)


@contextmanager
def _networks(contenders: Contenders) -> Iterator[str]:
    """The id of a network with both families, on a LAN with a DHCPv6 server, beside one of the engine's own bridge.

    Newer engines let ip6tables drop what a bridge forwards as soon as they have such a network of their own.
    """
    docker, lab, ours = contenders.docker, contenders.lab, contenders.plugins[OURS].name
    options = ("ipv6=true", "ignore_conflicts=true", f"bridge={LAN_BRIDGE}")
    passing = ("FORWARD", "-i", LAN_BRIDGE, "-o", LAN_BRIDGE, "-j", "ACCEPT")
    with ExitStack() as stack:
        lab.network.serve_ipv6()
        lab.network.on_host("ip6tables", "-I", *passing)
        stack.callback(lab.network.on_host, "ip6tables", "-D", *passing)
        server = DhcpServer(lab.directory / "dhcp6", lab.network.lan)
        stack.callback(server.stop)
        server.start(ONLY_IPV6)
        words = [word for option in options for word in ("--opt", option)]
        network_id = docker("network", "create", "--driver", ours, "--ipam-driver", "null", *words, DUAL)
        stack.callback(docker, "network", "rm", DUAL)
        docker("network", "create", "--ipv6", "--subnet", ENGINES_SUBNET6, NETWORKS[BRIDGE_DUAL])
        stack.callback(docker, "network", "rm", NETWORKS[BRIDGE_DUAL])
        yield network_id
