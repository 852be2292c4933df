"""The containers: which have not started for want of a lease, and whose lease is in danger."""

from collections.abc import Iterator
from typing import Any

from cli import endpoints
from cli.doctor.finding import Finding, Severity, failed
from cli.errors import Failure
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
    except Failure:
        return  # said before
    yield from _not_started(containers, {network["Name"] for network in networks if only in (None, network["Name"])})


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
            yield Finding(name, "not-started", Severity.ERROR, found, f"fix what it names, then docker start {name}")
