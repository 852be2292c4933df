"""The errors about a lease that both families have."""

from enum import StrEnum


class Failing(StrEnum):
    """The ways in which a start fails."""

    NO_SERVER = "no_server"  # nobody answers
    NO_OFFER = "no_offer"  # a server answers others: its pool may be empty
    NO_ACK = "no_ack"  # what was offered is not granted
    NO_ROUTER = "no_router"  # no router advertisement from which an address could be made
    NAK = "nak"  # the server refuses
    UNUSABLE = "unusable_answer"
    CONFLICT = "conflict"  # other machines have the addresses
    LINK = "link"  # the link cannot be made or used
    CANCELLED = "cancelled"  # the engine gave the start up
    OVERDUE = "overdue"  # the worker did not keep its time
    WORKER_DIED = "worker_died"
    NO_PROCESS = "no_process"  # the kernel made no process


class NoLease(Exception):
    """No lease came within the budget; the text says what we sent, what we saw and the likeliest cause."""

    def __init__(self, text: str, kind: Failing = Failing.NO_SERVER) -> None:
        super().__init__(text)
        self.kind = kind


class ReleaseError(Exception):
    """The lease could not be released; the text says what the worker waited for."""
