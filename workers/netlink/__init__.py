"""The kernel's links, addresses and routes over rtnetlink.

Must not know leases, nor why a link is made.
"""
