"""The event loop, child processes and the channels to them.

Must not know networks, endpoints or leases.
"""
