"""The checks of the Docker Engine: what it does to containers' addresses and names.

Owns their words. Asks the engine nothing.
"""

from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from supervisor.engine.facts import Engine
from supervisor.engine.mounted_roots import TELLING
from workers.contract.finding import Check, Finding, Severity

STORAGE_DRIVER = Check("storage-driver", Severity.WARNING)
OVERLAP = Check("subnet-overlap", Severity.WARNING)
NOT_TOLD_APART = Check("not-told-apart", Severity.WARNING)
ROOTLESS = Check("rootless", Severity.ERROR)
CHECKS = (ROOTLESS, STORAGE_DRIVER, OVERLAP, NOT_TOLD_APART)

USER_IDS = Path("/proc/self/uid_map")  # user_namespaces(7): first id here, first id in the parent, how many

PIN = "use --mac-address or driver-opt=id=NAME"
DEFAULT_NETWORK = "bridge"
MOST_NAMES = 10


def rootless() -> Finding | None:
    """RootlessKit maps root, and root alone, to the user. Other namespaces, as LXC's, map it with thousands of ids.

    None as well if the map cannot be read, as without descriptors: the request says so in its next step.
    """
    try:
        root, user, count = map(int, USER_IDS.read_text(encoding="ascii").split()[:3])
    except OSError:
        return None
    if (root, count) != (0, 1) or user == 0:
        return None
    found = f"this Docker Engine runs rootless, as user {user}, in a network of its own without the host's interfaces"
    return ROOTLESS.finding(found, "install the plugin in an engine that runs as root")


def hiding_driver(engine: Engine) -> str:
    """The storage driver, if neither its mounts nor the sandboxes show which container is being started; else ""."""
    return "" if engine.binds_first or engine.storage_driver in TELLING else engine.storage_driver


def engine_findings(engine: Engine) -> Iterator[Finding]:
    """The findings about the engine as a whole."""
    driver = hiding_driver(engine)
    if driver:
        found = (
            f"Docker's storage driver {driver} does not show which container is being started, so that one keeps its "
            "MAC address over a restart only if no other container of its network is stopped meanwhile"
        )
        yield STORAGE_DRIVER.finding(found, f"to keep it, {PIN}; net-dhcp pin --all prints the lines")


def overlaps(engine: Engine, subnets: Collection[IPv4Network | IPv6Network], parent: str) -> Iterator[Finding]:
    """The bridges to which the host may send packets for the LAN, as a lease's subnet overlaps theirs; each once."""
    for network in engine.networks.values():
        for own in network.subnets if network.bridge not in (None, parent) else ():
            subnet = next((one for one in subnets if one.version == own.version and one.overlaps(own)), None)
            if subnet is not None:
                found = f"the lease's subnet {subnet} overlaps {own} of Docker's network {network.name} on this host"
                yield OVERLAP.finding(found, _other_subnet(network.name))


def _other_subnet(name: str) -> str:
    if name == DEFAULT_NETWORK:
        return 'give that network another one with "bip" in /etc/docker/daemon.json, and restart Docker'
    return f"`docker network rm {name}`, and create it again with another --subnet"


def identity_lost(engine: Engine) -> str:
    """Why a container came back with another MAC address, and how to prevent that."""
    driver = hiding_driver(engine)
    why = f", which Docker's storage driver {driver} does not show" if driver else ""
    known = "as the plugin could not tell which container was being started"
    return f"it has another MAC address than before, {known}{why}: {PIN}"


def mixed_up_at_boot(names: Sequence[str]) -> Iterator[Finding]:
    """The finding about these containers of one network, if there are any, before a boot mixes them up."""
    if names:
        more = len(names) - MOST_NAMES
        told = ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        found = f"a boot may give these containers other addresses, as nothing tells them apart: {told}"
        yield NOT_TOLD_APART.finding(found, "net-dhcp pin")
