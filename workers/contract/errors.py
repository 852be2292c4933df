"""The error that a user reads when an endpoint gets no lease."""


class NoLease(Exception):
    """No lease came within the budget; the text says what we sent, what we saw and the likeliest cause."""
