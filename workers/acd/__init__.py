"""Address conflict detection (RFC 5227, RFC 4862): probes, announcements, the defence of an address in use.

Must not know DHCP.
"""
