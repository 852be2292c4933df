"""One endpoint: its link, its lease, its udhcpc. Knows DHCP, netlink and namespaces; nothing of HTTP or Docker."""
