"""The network driver: the engine's requests, networks, the registry of endpoints, admission, recovery, orphans.

Must not know HTTP, nor what an endpoint does with a request.
"""
