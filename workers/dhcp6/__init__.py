"""DHCPv6 (RFC 8415) and router advertisements (RFC 4861): messages, sockets, our client, release.

Must not know Docker, nor how an address gets onto a link.
"""
