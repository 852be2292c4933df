"""The supervisor owns every child process and all state. Must not know HTTP or netlink."""
