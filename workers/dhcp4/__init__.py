"""DHCPv4 (RFC 2131): messages, sockets, clients, release.

Must not know Docker, nor how an address gets onto a link.
"""
