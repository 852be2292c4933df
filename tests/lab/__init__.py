"""The laboratory: a LAN with a DHCP server and a machine with a Docker Engine, in network namespaces of their own.

Owns everything that `make lab`, `make demo` and the plugin tests start, and its removal. Standard library only, since
`make setup` runs it before anything is installed. Must not import the plugin's packages.
"""
