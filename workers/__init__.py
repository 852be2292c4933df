"""One endpoint: its link, its lease, its DHCP client. Must not know HTTP or Docker."""
