"""An endpoint's link: how it is made and removed, and how a lease is applied to it.

Must not know DHCP messages.
"""
