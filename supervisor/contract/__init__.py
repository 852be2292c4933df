"""The contract with those who ask the supervisor: messages, errors, and the caller's end of the queues.

Must not know how the supervisor carries out a request.
"""
