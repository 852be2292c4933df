"""What a container resolves names with: its resolv.conf, and who answers its questions.

Must not know where the servers and the search list came from.
"""
