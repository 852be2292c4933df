"""Each network: do plugin and engine both know it, is its parent fit, and does a DHCP server answer?"""

from collections.abc import Iterable, Iterator
from typing import Any

from cli.client import Json, segment
from cli.doctor.finding import Finding, Severity, failed, severity_of
from cli.errors import Failure
from cli.session import Session


def of_networks(session: Session, only: str | None, *, probe: bool) -> Iterator[Finding]:
    """Of all networks, or of the one with this name."""
    try:
        known, looked = _known(session), session.client.get("/v1/checks", network=only)
    except Failure as error:
        yield failed("networks", "networks", error)
        return
    yield from _findings("engine", looked.get("engine", ()))
    yield from _lost(known, _seen(session), only)
    names = sorted(name for name in known.values() if only in (None, name))
    if not names:
        yield Finding(
            "networks", "no-network", Severity.HINT, "there is none yet", "docker network create, as in the README"
        )
    for name in names:
        found = list(_findings(name, (check for check in looked["checks"] if check["network"] == name)))
        yield from found or [Finding(name, "parent", Severity.OK, "nothing is wrong with its bridge or card")]
        if probe:
            yield _probed(session, name)


def _known(session: Session) -> dict[str, str]:
    """The plugin's networks: names by id."""
    listed = session.client.get("/v1/networks")["networks"]
    return {n["network_id"]: n["network"] or n["network_id"][:12] for n in listed}


def _seen(session: Session) -> list[dict[str, Any]]:
    """The engine's networks; none if it does not answer, which was said before."""
    try:
        return session.engine.networks(session.installed.name)
    except Failure:
        return []


def _lost(known: dict[str, str], seen: list[dict[str, Any]], only: str | None) -> Iterator[Finding]:
    for network in seen:
        name = network["Name"]
        if network["Id"] not in known and only in (None, name):
            found = "the engine has this network, and the plugin does not know it"
            yield Finding(name, "network-lost", Severity.ERROR, found, f"docker network rm {name}, and create it again")


def _findings(about: str, checks: Iterable[Json]) -> Iterator[Finding]:
    """The plugin's own."""
    return (Finding(about, c["id"], severity_of(c["severity"]), c["found"], c["remedy"]) for c in checks)


def _probed(session: Session, name: str) -> Finding:
    """Whether a server offers an address."""
    try:
        answer = session.client.post(f"/v1/networks/{segment(name)}/probe")
    except Failure as error:
        return failed(name, "not-probed", error)
    if answer["error"]:
        return Finding(
            name, "no-offer", Severity.ERROR, str(answer["error"]), "see the findings above, or the server's log"
        )
    return Finding(name, "offer", Severity.OK, f"{answer['server']} offers leases; the probe has left none")
