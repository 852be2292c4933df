"""The kernel's links, addresses and routes over rtnetlink.

Must not know what a lease is applied for, nor why a link is made.
"""
