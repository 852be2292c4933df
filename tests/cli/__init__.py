"""The command, over a plugin and an engine that are played on unix sockets."""
