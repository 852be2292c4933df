"""Applies IPv6 leases to the link in the sandbox: the address, its lifetimes, and the settings of the link.

The kernel itself takes the default router and the prefixes on the link from router advertisements: several routers, a
router that changes and one that resigns are its business. Logs each change, and reports a refusal of the kernel.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Interface

from workers.contract.lease import Family, Lease6
from workers.contract.messages import LeaseTrouble, Report, Trouble
from workers.link.placement import tell
from workers.netlink.operations import Netlink, NetlinkError
from workers.netlink.rtnetlink import Address6, Link
from workers.system.clock import boottime
from workers.system.namespaces import set_ipv6

FIRST_ROUTER_SECONDS = 30  # the kernel needs some 2 s until it has asked for router advertisements itself
ROUTER_METRIC = 2048  # behind the default route that the engine gives another network of the container, with 1024
FIRST_ROUTER_METRIC = 4096  # behind the kernel's own route
TOKEN_MASK = (1 << 64) - 1

log = logging.getLogger(__name__)


class Placement6:
    """`slaac`: the kernel makes addresses from advertised prefixes, which end with `token` if there is one; else it
    makes none.
    """

    def __init__(self, report: Callable[[Report], None], token: IPv6Address | None = None) -> None:
        self._report = report
        self._token = token

    def prepare(self, interface: str, *, slaac: bool) -> None:
        """Sets the link's IPv6 settings, whatever the engine has chosen."""
        try:
            with suppress(FileNotFoundError):  # before Linux 5.12 the kernel's route has 1024, too
                set_ipv6(interface, "ra_defrtr_metric", ROUTER_METRIC)
            set_ipv6(interface, "autoconf", int(slaac))
            if slaac and self._token is not None:
                self._use_token(interface, self._token)
            set_ipv6(interface, "disable_ipv6", 0)
            if not slaac:
                self._remove_slaac(interface)
        except (OSError, NetlinkError) as error:
            self._refused(f"IPv6 could not be set up on {interface}: {error}")

    def put(self, interface: str, previous: Lease6 | None, lease: Lease6, *, for_ever: bool = False) -> bool:
        """Applies `lease` in place of `previous`; False if the kernel refused.

        `for_ever`: the address stays on the link after the end of its lease.
        """
        valid, preferred = _rest(lease, lease.duration, 1), _rest(lease, lease.preferred, 0)
        try:
            with Netlink() as netlink:
                link = netlink.require_link(interface)
                there = [one.address for one in netlink.addresses6(link)]
                netlink.set_address6(link, _as_it_is(lease, there), None if for_ever else valid, preferred)
                if lease.address.ip not in (address.ip for address in there):
                    tell(interface, f"address {lease.address} added")
                if previous is not None and previous.address != lease.address:
                    netlink.delete_address6(link, _as_it_is(previous, there))
                    tell(interface, f"address {previous.address} removed")
        except NetlinkError as error:
            self._refused(f"the lease could not be applied: {error}")
            return False
        return True

    def has(self, interface: str, lease: Lease6) -> bool:
        """Whether the link has the address: the kernel takes it off a link that goes down."""
        return any(one.address.ip == lease.address.ip for one in _addresses(interface))

    def drop(self, interface: str, lease: Lease6) -> None:
        """Removes the lease's address, if the kernel has not done so."""
        try:
            with Netlink() as netlink:
                link = netlink.require_link(interface)
                there = [one.address for one in netlink.addresses6(link)]
                netlink.delete_address6(link, _as_it_is(lease, there))
        except NetlinkError as error:
            self._refused(f"the address could not be removed: {error}")
            return
        tell(interface, f"address {lease.address} removed")

    def route_at_first(self, interface: str, lease: Lease6) -> None:
        """Gives the container the router that we have heard, until the kernel has heard it as well."""
        if lease.router is None:
            return
        try:
            with Netlink() as netlink:
                link = netlink.require_link(interface)
                netlink.add_default6(link, lease.router, FIRST_ROUTER_METRIC, FIRST_ROUTER_SECONDS)
        except NetlinkError as error:
            log.info("%s", error, extra={"interface": interface})

    def _use_token(self, interface: str, token: IPv6Address) -> None:
        """If it is set again, the kernel takes off what it has made of it."""
        with Netlink() as netlink:
            link = netlink.require_link(interface)
            if not any(_ends_with(token, one) for one in _made_by_slaac(netlink, link)):
                netlink.set_token(link, token)
        self._remove_slaac(interface, token)

    def _remove_slaac(self, interface: str, token: IPv6Address | None = None) -> None:
        """Addresses that the kernel has made before it was told not to, or not so; only these end and are no /128."""
        with Netlink() as netlink:
            link = netlink.require_link(interface)
            for one in _made_by_slaac(netlink, link):
                if token is None or not _ends_with(token, one):
                    netlink.delete_address6(link, one.address)

    def _refused(self, what: str) -> None:
        self._report(LeaseTrouble(Trouble.INVALID, what, Family.IPV6))


def kernel_lease(interface: str, previous: Lease6 | None, *, keep: bool) -> Lease6 | None:
    """The address that the kernel has made of an advertised prefix; of several the longest preferred one.

    With `keep` the previous one stays as long as it is preferred at all: any machine can advertise another prefix.
    """
    now = boottime()
    found = [one for one in _addresses(interface) if not one.address.is_link_local and not one.temporary]
    if not found:
        return None
    same = [one for one in found if keep and previous and one.address.ip == previous.address.ip and one.preferred != 0]
    best = max(same or found, key=lambda one: (_length(one.preferred), _length(one.valid)))
    address = IPv6Interface((best.address.ip, 128))
    router = previous.router if previous else None
    dns, search = (previous.dns, previous.search) if previous else ((), ())
    return Lease6(address, b"", best.valid, now, best.preferred, dns=dns, search=search, router=router, slaac=True)


def on_link6(interface: str, guess: Lease6) -> Lease6 | None:
    """The lease of the address that is on the link: the engine tells of a container's first one."""
    there = [
        one.address for one in _addresses(interface) if one.address.network.prefixlen == guess.address.max_prefixlen
    ]
    return guess if guess.address in there else replace(guess, address=there[0]) if there else None


def _addresses(interface: str) -> tuple[Address6, ...]:
    try:
        with Netlink() as netlink:
            return netlink.addresses6(netlink.require_link(interface))
    except NetlinkError:
        return ()  # the link has gone


def _made_by_slaac(netlink: Netlink, link: Link) -> list[Address6]:
    return [
        one
        for one in netlink.addresses6(link)
        if not one.permanent and one.address.network.prefixlen < 128 and not one.address.is_link_local
    ]


def _ends_with(token: IPv6Address, one: Address6) -> bool:
    return int(one.address.ip) & TOKEN_MASK == int(token)


def _as_it_is(lease: Lease6, there: list[IPv6Interface]) -> IPv6Interface:
    """The address with the prefix length that it has on the link, where it may have been made of an advertised one."""
    return next((address for address in there if address.ip == lease.address.ip), lease.address)


def _rest(lease: Lease6, lifetime: int | None, least: int) -> int | None:
    """Of a lifetime, in seconds. The kernel refuses a valid lifetime of 0; a preferred one deprecates the address."""
    return None if lifetime is None else max(int(lease.obtained + lifetime - boottime()), least)


def _length(seconds: int | None) -> float:
    return float("inf") if seconds is None else seconds
