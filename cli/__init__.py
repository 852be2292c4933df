"""The command `docker dhcp`, which is `net-dhcp` as well: what an operator sees and does, in a terminal.

It speaks to the plugin over its socket (`client`), to the engine by Docker's SDK (`engine`), and finds both by itself
(`where`). `commands` has one module for each command. Text of others is made harmless before it is shown (`inert`).
It must not import anything of the plugin: it is a program of its own, which may be older or newer than the plugin.
"""

VERSION = "0.1.0"  # as in pyproject.toml
