"""What is read of the kernel's messages."""

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from workers.netlink.rtnetlink import Link, LinkMessage, decode_link

MAC = "02:00:00:00:00:01"


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
    read = LinkMessage(whole.data)
    read.decode()
    assert decode_link(read) == Link(7, "eth0", MAC, True, True, True, "veth", 1400, 3, 5, 8, True, True)
    assert not {"IFLA_TXQLEN", "IFLA_QDISC", "IFLA_PROMISCUITY", "IFLA_NUM_TX_QUEUES"} & {a.name for a in read["attrs"]}
