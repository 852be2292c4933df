"""The state of a lease, derived from the lease and the clock, never stored.

The boundaries are RFC 2131's defaults (section 4.4.5): T1 at half, T2 at seven eighths of the lease. udhcpc keeps its
own timers and takes no notice of the server's.
"""

from enum import StrEnum

from workers.contract.lease import T1, T2, Lease


class LeaseState(StrEnum):
    """RFC 2131's words, figure 5, and EXPIRED for what it calls INIT with the address still in use."""

    BOUND = "bound"
    RENEWING = "renewing"
    REBINDING = "rebinding"
    EXPIRED = "expired"


def lease_state(lease: Lease, now: float) -> LeaseState:
    """At `now`, in `boottime()` seconds."""
    if lease.duration is None:
        return LeaseState.BOUND
    age = (now - lease.obtained) / lease.duration
    if age < T1:
        return LeaseState.BOUND
    if age < T2:
        return LeaseState.RENEWING
    return LeaseState.REBINDING if age < 1 else LeaseState.EXPIRED
