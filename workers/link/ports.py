"""Makes our links ports of a bridge again that was made anew: a job, in the host's network namespace."""

import logging
from collections.abc import Mapping
from multiprocessing.connection import Connection

from msgspec import Struct

from workers.contract.link import HOST_LINK_PREFIX
from workers.netlink.operations import Link, Netlink, NetlinkError

log = logging.getLogger(__name__)


class Plugged(Struct, frozen=True):
    """The ports that are the bridge's again, each with the bridge's MTU if its own is larger, else None.

    `uplinks` are the bridge's ports that are not ours: one of them leads to the LAN.
    """

    ports: Mapping[str, int | None]
    uplinks: frozenset[str]


def plug_in(bridge: str, vlans: Mapping[str, int | None], channel: Connection) -> None:
    """Plugs in the ports that `vlans` names with their VLANs, if they are no ports now; sends a `Plugged`.

    A port that somebody has given to another bridge stays there. What the kernel refuses is logged.
    """
    plugged = Plugged({}, frozenset())
    try:
        with Netlink() as netlink:
            plugged = _plug_in(netlink, netlink.require_link(bridge, "bridge"), vlans)
    except (NetlinkError, OSError) as error:
        log.warning("ports of %s not looked at: %s", bridge, error)
    channel.send(plugged)


def _plug_in(netlink: Netlink, bridge: Link, vlans: Mapping[str, int | None]) -> Plugged:
    links = netlink.links()
    plugged = []
    for link in links:
        if link.name in vlans and link.master is None:
            try:
                _plug(netlink, link, bridge, vlans[link.name])
            except NetlinkError as error:
                log.warning("a container stays cut off: %s", error, extra={"interface": link.name})
            else:
                plugged.append(link)
    strangers = {n.name for n in links if n.master == bridge.index and not n.name.startswith(HOST_LINK_PREFIX)}
    mtu = netlink.require_link(bridge.name).mtu
    return Plugged({port.name: mtu if mtu < port.mtu else None for port in plugged}, frozenset(strangers))


def _plug(netlink: Netlink, port: Link, bridge: Link, vlan: int | None) -> None:
    """A bridge takes the smallest MTU of its ports, unless it was given one: ours may raise it, and never lower it.

    With a VLAN the port is down until it is in there, so that no frame gets into another one.
    """
    if port.mtu < bridge.mtu:
        netlink.set_mtu(port, bridge.mtu)
    netlink.plug(port, bridge, up=vlan is None)
    if vlan is not None:
        netlink.set_native_vlan(port, vlan)
        netlink.raise_link(port.name)
