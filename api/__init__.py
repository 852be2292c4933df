"""The API: the plugin protocol and the ops surface over HTTP. Knows HTTP and JSON; nothing of DHCP or netlink."""
