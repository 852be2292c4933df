"""The network driver: the engine's requests, networks, the registry of endpoints, admission, recovery, orphans.

Must not know HTTP, nor how an endpoint handles a request.
"""
