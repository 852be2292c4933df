"""The errors of reading what a server or a router has sent: all of it is hostile."""


class InvalidLease(ValueError):
    """The server's answer is unusable; the text says which value and why."""


class Malformed(ValueError):
    """The bytes are no message of a server or a router."""
