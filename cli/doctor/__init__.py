"""The diagnosis: what keeps containers from having a lease, and the command that mends it.

The plugin looks at the parents of its networks. What it cannot see is looked at here: whether it runs at all, what the
engine thinks of it, and which containers have not started. Each module yields findings, and none changes anything, but
that `networks` has the plugin ask each LAN for an offer, which leaves no lease.
"""
