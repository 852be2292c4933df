"""Lets all ipvlans of a card hear what DHCP servers send to the card's MAC address.

The kernel gives an ipvlan the frames to its own IP address, and those to all stations. A server such as Kea sends the
broadcast answer that a client without an address has asked for to 255.255.255.255, but in a frame to the card alone. A
rule on the card, in a table of nf_tables, makes it a frame to all stations before the kernel looks for a receiver.
"""

import logging
from collections.abc import Collection

from workers.contract.exchange import CLIENT_PORT, SERVER_PORT
from workers.netlink.nftables import put_spreading, remove_spreading, tables_of_devices

log = logging.getLogger(__name__)


def share_answers(card: str, mark: int) -> None:
    """Makes the rule, unless it is there; without one, servers that send to all stations still serve."""
    try:
        put_spreading(_table(card, mark), card, SERVER_PORT, CLIENT_PORT)
    except OSError as error:
        log.warning("containers on %s do not hear servers that answer to its MAC address: %s", card, error)


def unshare_answers(card: str, mark: int) -> None:
    """Removes the rule."""
    try:
        remove_spreading(_table(card, mark))
    except OSError as error:
        log.debug("%s has no rule that could be removed: %s", card, error)


def sweep_answers(mark: int, cards: Collection[str]) -> None:
    """Removes the rules of all other cards: a plugin that died over the removal of a network has left them."""
    kept = {_table(card, mark) for card in cards}
    try:
        for table in [one for one in tables_of_devices() if one.startswith(_table("", mark)) and one not in kept]:
            remove_spreading(table)
    except OSError as error:
        log.debug("no rule of another instance could be removed: %s", error)


def _table(card: str, mark: int) -> str:
    """Of one plugin: an engine beside ours may have a plugin of its own, with networks on the same card."""
    return f"net-dhcp-{mark:x}-{card}"
