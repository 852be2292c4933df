"""Where a worker's process begins: the sleeper and its turns, the handover between them, short jobs.

Must not know what a turn is about.
"""
