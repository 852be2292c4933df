"""The errors about a lease that both families have."""


class NoLease(Exception):
    """No lease came within the budget; the text says what we sent, what we saw and the likeliest cause."""


class ReleaseError(Exception):
    """The lease could not be released; the text says what the worker waited for."""
