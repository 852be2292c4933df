"""The class of each kind of link, and what becomes of a link whatever its kind is."""

import logging
from dataclasses import replace

from msgspec import Struct

from workers.contract.finding import Finding
from workers.contract.link import LinkKind, LinkSpec, container_link, host_link, vlan_of
from workers.contract.messages import EndpointSpec
from workers.diagnosis.checks import diagnose
from workers.link.endpoint_link import EndpointLink
from workers.link.host_macvlan import HostMacvlan
from workers.link.ipvlan import Ipvlan
from workers.link.macvlan import Macvlan
from workers.link.shared_mac import share_answers
from workers.link.veth_bridge import VethOnBridge
from workers.netlink.operations import Link, Netlink, NetlinkError
from workers.system.namespaces import open_namespace

log = logging.getLogger(__name__)


KINDS: dict[LinkKind, type[EndpointLink]] = {
    LinkKind.BRIDGE: VethOnBridge,
    LinkKind.MACVLAN: Macvlan,
    LinkKind.IPVLAN: Ipvlan,
}


class ParentReport(Struct, frozen=True):
    """The state of a parent: `error` says why it cannot be used, `findings` are troubles that may pass."""

    error: str | None
    findings: tuple[Finding, ...] = ()


def probe_parent(spec: LinkSpec, *, ipv6: bool = False) -> ParentReport:
    """Whether the parent can carry a network. Never raises: an error is part of the report."""
    try:
        with Netlink() as netlink:
            KINDS[spec.kind].check(netlink, spec)
        return ParentReport(error=None, findings=diagnose(spec, ipv6=ipv6))
    except (NetlinkError, OSError) as error:
        return ParentReport(error=str(error))


def on_the_wire(spec: EndpointSpec) -> EndpointSpec:
    """The endpoint with the MAC address that its frames have, which only the kernel knows if it is the parent's.

    If the parent is missing, nothing can be sent anyway.
    """
    if spec.link.has_own_mac:
        return spec
    card, _ = vlan_of(spec.link.parent) or (spec.link.parent, 0)
    try:
        with Netlink() as netlink:
            parent = netlink.link(spec.link.parent) or netlink.link(card)
    except (NetlinkError, OSError) as error:
        log.warning("the MAC address of %s is not known: %s", spec.link.parent, error)
        return spec
    return replace(spec, mac=parent.mac) if parent else spec


def link_of(spec: EndpointSpec, landmark: Link | None = None) -> EndpointLink:
    """The link of this endpoint, which need not exist yet; its `landmark`, if that is known."""
    return (HostMacvlan if spec.link.on_host else KINDS[spec.link.kind])(spec, landmark)


def make_hearing(netlink: Netlink, spec: EndpointSpec, link: EndpointLink) -> None:
    """Makes the link for a client that awaits answers, and lets those reach it if others have its MAC address, too."""
    link.make(netlink)
    if not spec.link.has_own_mac:
        share_answers(spec.link.parent, spec.mark)


def make_again(spec: EndpointSpec, link: EndpointLink, path: str, name: str) -> None:
    """Makes the link anew in the sandbox at `path`, where it was called `name`, as `make_hearing` does on the host.

    Raises NetlinkError; OSError, too if there is no such sandbox any more.
    """
    with open_namespace(path) as sandbox, Netlink() as netlink:
        link.make_in(netlink, sandbox, name)
    if not spec.link.has_own_mac:
        share_answers(spec.link.parent, spec.mark)


def remove_any(netlink: Netlink, endpoint_id: str) -> None:
    """Removes an endpoint's link of any kind; a missing link is no error."""
    for name in (host_link(endpoint_id), container_link(endpoint_id)):
        netlink.delete_link(name)


def discard(spec: EndpointSpec, link: EndpointLink) -> None:
    """Removes the link of an endpoint that ends; only logs a failure, because no caller could mend it."""
    try:
        with Netlink() as netlink:
            link.remove(netlink)
    except (NetlinkError, OSError) as error:
        log.warning("%s not removed: %s", spec.container_link, error)
