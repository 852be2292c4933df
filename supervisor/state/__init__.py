"""What outlives a process: records, the database, the bindings of identities to addresses, and the lock on all of it.

Must not decide what happens to an endpoint.
"""
