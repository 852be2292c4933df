"""What is read of the kernel's messages."""

import struct
from collections.abc import Set

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from workers.netlink.rtnetlink import Bridge, Link, decode_bridge, decode_link, decode_vlans, vlan_question

MAC = "02:00:00:00:00:01"


def test_link_without_anything() -> None:
    """As a kernel may tell of one of a kind that has none of it."""
    whole = ifinfmsg()
    whole["index"] = 1
    whole.encode()
    assert decode_link(bytes(whole.data)) == Link(1, "", "", False, False, False, None, 0, ethernet=False)


def test_link() -> None:
    """What a Link is made of, wherever it stands in the message and however long; all else is passed over."""
    whole = ifinfmsg()
    whole["index"], whole["flags"], whole["ifi_type"] = 7, 0x10001, 1
    whole["attrs"] = [
        ("IFLA_TXQLEN", 1000),
        ("IFLA_IFNAME", "eth0"),
        ("IFLA_OPERSTATE", "UP"),
        ("IFLA_QDISC", "noqueue"),
        ("IFLA_ADDRESS", MAC),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth")]}),
        ("IFLA_PROMISCUITY", 0),
        ("IFLA_GROUP", 3),
        ("IFLA_MASTER", 5),
        ("IFLA_LINK", 8),
        ("IFLA_LINK_NETNSID", 0),
        ("IFLA_MTU", 1400),
        ("IFLA_NUM_TX_QUEUES", 1),
    ]
    whole.encode()
    assert decode_link(bytes(whole.data)) == Link(7, "eth0", MAC, True, True, True, "veth", 1400, 3, 5, 8, True, True)


def test_name_that_is_no_text() -> None:
    """A container may call its link what it likes; the name goes to the log and to the next turn as text."""
    whole = ifinfmsg()
    whole["attrs"] = [("IFLA_IFNAME", b"eth\xff")]
    whole.encode()
    assert decode_link(bytes(whole.data)).name == "eth\\xff"


def test_bridge_that_filters_vlans() -> None:
    """Its settings as a kernel with VLAN filtering tells them."""
    data = [("IFLA_BR_VLAN_FILTERING", 1), ("IFLA_BR_VLAN_DEFAULT_PVID", 20), ("IFLA_BR_FORWARD_DELAY", 1500)]
    info = [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": data})]
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", "br-lan"), ("IFLA_LINKINFO", {"attrs": info})]
    message.encode()
    assert decode_bridge(bytes(message.data)) == Bridge(False, 15.0, False, filters_vlans=True, default_vlan=20)


@pytest.mark.parametrize(
    ("specific", "vlans"),
    [
        ("1c001a80" + "0800020006000100" + "0800020002001400" + "080002000000ff0f", {1, 20, 4095}),
        ("04001a80", set()),
        ("0e001a80" + "0800020006000100" + "0800", {1}),  # the second one is cut off
        ("", set()),  # the kernel filters none
    ],
)
def test_vlans_of_a_port(specific: str, vlans: Set[int]) -> None:
    """Each VLAN in the answer (linux/if_bridge.h), whatever its flags. The octets are a little-endian kernel's."""
    octets = bytes.fromhex(specific)
    header = struct.pack("=IHHII", 44 + len(octets), 16, 2, 1, 0) + struct.pack("=BxHiII", 7, 1, 5, 0x11043, 0)
    message = header + bytes.fromhex("09000300") + b"eth0\0" + bytes(3) + octets
    assert decode_vlans(message) == (5, vlans)


def test_question_for_vlans() -> None:
    """It is for bridges, and asks for each VLAN by itself."""
    message = vlan_question()
    message.encode()
    assert (message["family"], message.get("ext_mask")) == (7, 2)
