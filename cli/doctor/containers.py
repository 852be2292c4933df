"""The containers: which have not started for want of a lease, whose lease is in danger, who is mixed up at a boot."""

from collections.abc import Iterator
from typing import Any

from cli import endpoints
from cli.doctor.finding import Finding, Severity, failed
from cli.errors import Failure
from cli.pins.places import mixed_up, places
from cli.session import Session
from cli.words import until

DRIVER = "NetworkDriver."  # what the engine puts before a driver's error
IN_DANGER = {"rebinding": Severity.WARNING, "expired": Severity.ERROR}


def of_containers(session: Session, only: str | None) -> Iterator[Finding]:
    """Of all containers on networks of ours, or on the one with this name."""
    try:
        rows = endpoints.rows(session.client, network=only)
    except Failure as error:
        yield failed("containers", "containers", error)
        return
    yield from _in_danger(rows)
    try:
        containers = session.engine.containers()
        networks = session.engine.networks(session.installed.name)
        driver = str(session.engine.info().get("Driver"))
    except Failure:
        return  # said before
    networks = [network for network in networks if only in (None, network["Name"])]
    yield from _not_started(containers, {network["Name"] for network in networks})
    at_risk = mixed_up(places(containers, networks), driver)
    for network in sorted({place.network for place in at_risk}):
        names = [place.name for place in at_risk if place.network == network]
        found = f"a boot may give these containers other addresses, as nothing tells them apart: {', '.join(names)}"
        yield Finding(network, "not-told-apart", Severity.WARNING, found, "net-dhcp pin")


def _in_danger(rows: list[endpoints.Row]) -> Iterator[Finding]:
    for row in rows:
        for lease in (row, row["ipv6"] or {}):
            if severity := IN_DANGER.get(lease.get("lease_state") or ""):
                trouble = lease["last_trouble"] or "no server has confirmed it"
                found = (
                    f"its lease of {lease['address']} is {lease['lease_state']} ({until(lease['expires'])}): {trouble}"
                )
                yield Finding(row["name"], "lease", severity, found, f"net-dhcp inspect {row['name']}")


def _not_started(containers: list[dict[str, Any]], networks: set[str]) -> Iterator[Finding]:
    """Docker keeps the reason of a container that did not start."""
    for container in containers:
        error = container["State"].get("Error") or ""
        attached = container["NetworkSettings"].get("Networks") or {}
        if DRIVER in error and networks & attached.keys():
            name = container["Name"].lstrip("/")
            found = f"it has not started: {error[error.index(DRIVER) :]}"
            yield Finding(name, "not-started", Severity.ERROR, found, f"mend what it names, then docker start {name}")
