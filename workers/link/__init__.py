"""An endpoint's link: each kind makes, finds and removes it in its own way; a lease is applied to all in one way.

Must not know DHCP messages.
"""
