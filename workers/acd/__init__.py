"""Address conflict detection (RFC 5227): probes, announcements, the defence of an address in use.

Must not know DHCP.
"""
