"""What keeps DHCP from passing a bridge, on a kernel whose bridges can do all of that: named, and mended as it says."""

import re

import pytest

from tests.lab.dhcp import DhcpServer
from tests.lab.network import BRIDGE
from tests.netns.process.rig import Rig

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("alone")]  # half a minute each, for a machine of its own

COMMAND = re.compile(r"`([^`]+)`")


def mended(rig: Rig, words: str) -> None:
    """A container gets an error with these words, and starts after the command that the error names."""
    container = rig.container(rig.network(bridge=BRIDGE, lease_timeout="5s"))
    error = container.create().error
    assert words in error

    command = COMMAND.search(error)
    assert command is not None
    rig.machine.on_host(*command[1].split())

    assert container.create().status == 200


def test_vlan_filtering(rig: Rig, server: DhcpServer) -> None:
    """An uplink that is not in the VLAN of containers' ports is found, and the command puts it there."""
    rig.machine.on_host("ip", "link", "set", BRIDGE, "type", "bridge", "vlan_filtering", "1")
    rig.machine.on_host("bridge", "vlan", "del", "dev", "uplink", "vid", "1")

    mended(rig, "filters VLANs, and no uplink (uplink) is in the containers' VLAN 1")


def test_filter_of_bridges(rig: Rig, server: DhcpServer) -> None:
    """A chain that drops what bridges forward is found, and the command opens it for this bridge."""
    rig.machine.on_host("ebtables", "-P", "FORWARD", "DROP")

    mended(rig, "(chain FORWARD of the nftables table bridge filter)")


def test_filter_of_ip(rig: Rig, server: DhcpServer) -> None:
    """iptables' policy stops bridged frames where br_netfilter is loaded, and the command lets them pass."""
    rig.machine.on_host("modprobe", "br_netfilter")
    rig.machine.on_host("sysctl", "-q", "net.bridge.bridge-nf-call-iptables=1")
    rig.machine.on_host("iptables", "-P", "FORWARD", "DROP")

    mended(rig, "bridge-nf-call-iptables is 1")
