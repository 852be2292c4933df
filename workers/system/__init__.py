"""What the kernel and the C library offer beside sockets: namespaces, timers, poll, clocks, packet filters.

Must not know DHCP, links or endpoints.
"""
