"""The contenders' networks in the laboratory's engine."""

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.figures import BRIDGE, NONE, OURS
from tests.lab.network import BRIDGE as LAN_BRIDGE
from tests.lab.plugin import Plugin

NETWORKS = {OURS: "bench-dhcp", BRIDGE: "bench-bridge", NONE: "none"}


@contextmanager
def contenders(plugin: Plugin) -> Iterator[str]:
    """Both networks that are to be made; gives the id of ours."""
    docker = plugin.docker
    null_ipam = ("--driver", plugin.name, "--ipam-driver", "null", "--opt", f"bridge={LAN_BRIDGE}")
    network_id = docker("network", "create", *null_ipam, NETWORKS[OURS])
    try:
        docker("network", "create", NETWORKS[BRIDGE])
        try:
            yield network_id
        finally:
            docker("network", "rm", NETWORKS[BRIDGE])
    finally:
        docker("network", "rm", NETWORKS[OURS])
