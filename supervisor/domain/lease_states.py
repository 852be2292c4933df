"""The state of a lease, derived from the lease and the clock, never stored.

Both families have these states: RFC 2131, figure 5, and RFC 8415, section 18.2, name the times T1 and T2 alike.
"""

from enum import StrEnum

from workers.contract.lease import AnyLease


class LeaseState(StrEnum):
    """RFC 2131's words, and EXPIRED for its INIT if the address is still in use."""

    BOUND = "bound"
    RENEWING = "renewing"
    REBINDING = "rebinding"
    EXPIRED = "expired"


def lease_state(lease: AnyLease, now: float) -> LeaseState:
    """At `now`, in `boottime()` seconds."""
    begins = ((lease.expires, LeaseState.EXPIRED), (lease.t2, LeaseState.REBINDING), (lease.t1, LeaseState.RENEWING))
    return next((state for at, state in begins if at is not None and now >= at), LeaseState.BOUND)
