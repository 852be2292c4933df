"""DHCPv6 and router advertisements: tables, parsers and messages."""
