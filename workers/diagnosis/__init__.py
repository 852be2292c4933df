"""Why DHCP does not get through on this host, as findings for the user.

Must only read.
"""
