"""Why DHCP does not get through on this host, in words for the user.

Must only read.
"""
