"""What the supervisor tells a worker and what the worker reports, and the lease that both know.

Must not know how any of it is carried out.
"""
