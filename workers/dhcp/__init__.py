"""What the DHCP clients of both families share: the lease that a machine holds, the first exchange, the sockets.

Must not know the messages of either family, nor its states.
"""
