"""One endpoint from CreateEndpoint to DeleteEndpoint, and its worker's process.

Must not know the other endpoints, nor how a request comes in.
"""
