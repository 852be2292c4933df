"""Turns a server's answer into a lease. Everything that a DHCPv6 server sends is hostile until it has passed here.

Owns the choice among several addresses, and the reading of lifetimes. Must not know what follows from a refusal.
"""

from collections.abc import Collection
from ipaddress import IPv6Address, IPv6Interface

from workers.contract.lease import T1_IPV6, T2_IPV6, Lease6
from workers.dhcp.errors import InvalidLease
from workers.dhcp6.codec import AddressOption, Answer, Association, Code, Status, is_unicast

INFINITE_SECONDS = 0xFFFFFFFF  # RFC 8415 section 7.7


class Refusal(Exception):
    """The server grants nothing. `status` says why; `ended`: it has ended the lease that we hold."""

    def __init__(self, status: Status, *, ended: bool = False) -> None:
        super().__init__(f"the server granted nothing: {status}")
        self.status = status
        self.ended = ended


def parse_lease(answer: Answer, iaid: int, obtained: float, wanted: Collection[IPv6Address] = ()) -> Lease6:
    """The lease of an Advertise or a Reply, which runs from `obtained` on (`boottime()` seconds).

    A server may grant several addresses; `wanted` are those that we would rather have. Raises InvalidLease or Refusal.
    """
    if answer.status.code != Code.SUCCESS:
        raise Refusal(answer.status)
    association = answer.associations.get(iaid)
    if association is None:
        raise InvalidLease("the server's answer has no IA_NA of this client")
    if association.t1 > association.t2 > 0:  # section 21.4
        raise InvalidLease(f"the server sent a T1 of {association.t1} s and a T2 of {association.t2} s")
    best = _best(association, wanted)
    duration, preferred = _lifetime(best.valid), _lifetime(best.preferred)
    renewal, rebinding = _renewal_times(association, duration, preferred)
    return Lease6(
        address=IPv6Interface(best.address),
        server=answer.server,
        duration=duration,
        obtained=obtained,
        preferred=preferred,
        renewal=renewal,
        rebinding=rebinding,
        dns=answer.dns,
        search=answer.search,
    )


def _best(association: Association, wanted: Collection[IPv6Address]) -> AddressOption:
    """An address that may be used for new connections comes before a deprecated one (section 18.2.10.1)."""
    offered = [a for a in association.addresses if a.preferred <= a.valid]  # section 21.6
    usable = [a for a in offered if a.valid > 0 and a.status.code == Code.SUCCESS and is_unicast(a.address)]
    if usable:
        return max(usable, key=lambda a: (a.preferred > 0, a.address in wanted))
    ended = any(a.valid == 0 and a.address in wanted for a in offered)
    statuses = (association.status, *(a.status for a in association.addresses))
    status = next((s for s in statuses if s.code != Code.SUCCESS), None)
    if status is not None or ended:
        raise Refusal(status or Status(words="the lease has ended"), ended=ended)
    shown = ", ".join(f"{a.address} for {a.valid} s ({a.preferred} s preferred)" for a in association.addresses)
    raise InvalidLease(f"the server granted {shown or 'no address'}, which no container can use")


def _lifetime(seconds: int) -> int | None:
    return None if seconds == INFINITE_SECONDS else seconds


def _renewal_times(
    association: Association, duration: int | None, preferred: int | None
) -> tuple[int | None, int | None]:
    """The server's T1 and T2; 0 leaves them to us. None, for the usual shares, unless T1 <= T2 < the valid lifetime.

    A deprecated address has no preferred lifetime of which they could be shares.
    """
    if duration is None:
        return None, None
    base = preferred or duration
    t1, t2 = association.t1 or T1_IPV6 * base, association.t2 or T2_IPV6 * base
    if not t1 <= t2 < duration:
        t1, t2 = T1_IPV6 * base, T2_IPV6 * base
    return max(1, int(t1)), max(1, int(t2))
