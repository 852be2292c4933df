"""An endpoint's link: each kind of link makes, finds and removes it; a lease is applied to it in one way for all.

Must not know DHCP messages.
"""
