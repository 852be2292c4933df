"""Why a client got no lease: what is wrong on the host, and what the exchange with the servers showed.

Owns the words for what was seen on the wire. Must not know messages or sockets.
"""

from collections.abc import Iterable

from workers.contract.finding import GRAVITY, Check, Finding, Severity
from workers.contract.link import LinkSpec
from workers.diagnosis.checks import diagnose
from workers.diagnosis.confinement import CONFINED, confinement
from workers.diagnosis.hypervisor import VIRTUAL_SWITCH, port_security

MOST = 3  # findings in an error: the first one is the likeliest, and an error must stay readable
NO_CAUSE = Check("no-cause", Severity.HINT)
OTHERS_ANSWERED = Check("answers-others", Severity.ERROR)
NO_ROUTER = Check("no-router", Severity.WARNING)
NO_DHCPV6 = Check("no-dhcpv6", Severity.ERROR)
NOT_MANAGED = Check("not-managed", Severity.ERROR)
NO_PREFIX = Check("no-prefix", Severity.ERROR)
WIRE = (OTHERS_ANSWERED, NO_ROUTER, NO_DHCPV6, NOT_MANAGED, NO_PREFIX, CONFINED, VIRTUAL_SWITCH, NO_CAUSE)


def likely_cause(spec: LinkSpec, *, ipv6: bool = False, seen: Iterable[Finding] = ()) -> str:
    """Why no answer came, for the error: the likeliest finding first; `seen` is the exchange's own. Never fails."""
    of_host = diagnose(spec, ipv6=ipv6)
    found = sorted((*of_host, *seen), key=lambda finding: GRAVITY.index(finding.severity))
    if not of_host and not any(finding.severity is Severity.ERROR for finding in found):
        confined = confinement()
        found += [confined] if confined else []
        found.append(port_security() or nothing_found())
    return "; ".join(map(str, found[:MOST]))


def nothing_found() -> Finding:
    """Of a host where all is well as far as it can be seen."""
    remedy = "is there a DHCP server on this LAN, and does it serve this MAC address?"
    return NO_CAUSE.finding("no cause found on this host", remedy)


def others_answered(count: int, server: str) -> Finding:
    """A server has answered other clients so often meanwhile, and not us."""
    found = f"the DHCP server {server} answers others ({count} answers seen), but not this client"
    return OTHERS_ANSWERED.finding(
        found, "see in its log whether it has free addresses, and serves unknown MAC addresses"
    )


def no_router() -> Finding:
    """No router advertisement has come."""
    remedy = "does this LAN have IPv6? `rdisc6 INTERFACE` on the LAN shows its routers"
    return NO_ROUTER.finding("no router advertisement was seen", remedy)


def no_dhcpv6(router: str) -> Finding:
    """The router sends clients to a DHCPv6 server, and none answers."""
    found = f"the router {router} says that there is a DHCPv6 server (M flag), but none answers"
    return NO_DHCPV6.finding(found, "start one, or switch the M flag off and use -o ipv6=slaac")


def not_managed(router: str, *, has_prefix: bool) -> Finding:
    """The router says that addresses do not come from a server."""
    found = f"the router {router} says that there is no DHCPv6 server for addresses (M flag off)"
    remedy = "use -o ipv6=slaac" if has_prefix else "start one: there is no prefix for SLAAC either"
    return NOT_MANAGED.finding(found, remedy)


def no_prefix(router: str, *, managed: bool) -> Finding:
    """The router advertises nothing from which an address can be made."""
    found = f"the router {router} advertises no /64 with the A flag"
    return NO_PREFIX.finding(found, "use -o ipv6=true" if managed else "configure one on the router")
