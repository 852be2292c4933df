"""Finds a container's resolv.conf in the engine's data root. Must not know its use."""

from supervisor.engine.facts import Engine
from supervisor.engine.mounted_roots import CONTAINERS, MountedRoots
from workers.contract.messages import UseResolver


def resolver_of(engine: Engine, mounted_roots: MountedRoots, container_id: str) -> UseResolver | None:
    """How a container's names may be resolved by its leases; None where the user has chosen, or a file is missing.

    Only the file that the engine has made is ever named: one that the user mounts is somewhere else.
    """
    containers = engine.place(CONTAINERS)
    configuration = mounted_roots.configuration(container_id)
    host = mounted_roots.host_configuration(container_id)
    if containers is None or configuration is None or host is None or configuration.mounts_resolver or host.dns:
        return None
    return UseResolver(f"{containers}/{configuration.identity.id}/resolv.conf", search=not host.dns_search)
