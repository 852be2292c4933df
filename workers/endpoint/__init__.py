"""One endpoint in its worker: the link's way into the sandbox and the lease that is kept there.

Must not know how its process sleeps and wakes.
"""
