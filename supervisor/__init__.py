"""The supervisor owns every child process and all state. Must not know HTTP or netlink."""

VERSION = "0.1.0"  # as in pyproject.toml, which the plugin does not have
