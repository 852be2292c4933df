"""The contract between the supervisor and a worker: commands, reports, and the lease that both know.

Must not know how a worker carries out a command.
"""
