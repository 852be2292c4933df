"""The name that a container's interface gets: the one that the user wants, as far as the engine lets us choose. Pure.

Docker Compose's `interface_name` and the endpoint option `com.docker.network.endpoint.ifname` wish for a name. Our
answer to Join has that name and the beginning of one. Engines before FIRST_WITH_NAMES ignore the name (moby#52866):
to the beginning they append a number, the lowest that no other interface of the container has. The order in which an
engine connects a container's networks is not ours, so of such names only the first of its kind is sure: lan0.
"""

import re

PREFIX = "eth"
FIRST_WITH_NAMES = "29.8"
_FIRST_OF_ITS_KIND = re.compile(r"(.*\D)0")


def prefix_of(wanted: str | None) -> str:
    """The beginning of the name, for engines that know no more of it."""
    first = _FIRST_OF_ITS_KIND.fullmatch(wanted) if wanted is not None else None
    return first[1] if first else PREFIX


def other_name(wanted: str, given: str, engine: str | None) -> str:
    """What the user reads if the engine of this version has given another name; None is one that is not known yet."""
    return (
        f"its interface is called {given}, and not {wanted}: Docker{f' {engine}' if engine else ''} has chosen the "
        f"name. Before Docker {FIRST_WITH_NAMES} a network plugin can ask only for a name that ends in 0 and is the "
        "container's first of its kind, like lan0"
    )
