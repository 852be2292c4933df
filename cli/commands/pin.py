"""`pin`: gives containers an identity that lasts, before a boot mixes them up."""

import time
from collections.abc import Collection

import click

from cli import endpoints
from cli.client import Json, segment
from cli.commands.options import examples
from cli.errors import REFUSED, Failure, NotFound, TooOld
from cli.inert import inert
from cli.output import Column, console, table
from cli.pins.lines import chosen_id, lines
from cli.pins.places import Place, mixed_up, places
from cli.session import Session, pass_session
from cli.words import NONE

MAC_BESIDE_NETWORK = (1, 44)  # the engine's API since which a MAC address belongs to a network
BACK_SECONDS = 30.0  # for a container that was connected anew to be in the plugin's list
COLUMNS = (
    Column("CONTAINER", lambda row: row["place"].name),
    Column("NETWORK", lambda row: row["place"].network),
    Column("MAC", lambda row: row["place"].mac or NONE),
    Column("MAY BE TAKEN FOR", lambda row: row["like"] or NONE),
)


@click.command(
    epilog=examples(
        "net-dhcp pin                                 # who is at risk, and the lines for the Compose file",
        "net-dhcp pin web db                          # the lines for these",
        "net-dhcp pin --all --by id                   # the lines for all that are not pinned, with ids",
        "net-dhcp pin --now web                       # reconnect it: a second without network",
    )
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="all containers that are not pinned, whether at risk or not")
@click.option("--by", type=click.Choice(["mac", "id"]), default="mac", show_default=True, help="what pins them")
@click.option("--now", "at_once", is_flag=True, help="reconnect the containers with an id: a second's interruption")
@click.option("-y", "--yes", is_flag=True, help="with --now: do not ask")
@pass_session
def pin(session: Session, *, names: tuple[str, ...], everything: bool, by: str, at_once: bool, yes: bool) -> None:
    """Pin containers that cannot be told apart at a boot, so that they keep their addresses.

    Docker does not say which container it starts. Containers that start at the same moment and look alike get other
    MAC addresses, unless they have a mac_address or an id. This command lists them, and prints the lines that pin
    them. With --now it reconnects each with an id; the container keeps its MAC address and its lease.
    """
    pinned = {row["endpoint_id"] for row in endpoints.rows(session.client) if row.get("pinned")}
    found = places(session.engine.containers(), session.engine.networks(session.installed.name), pinned)
    risks = mixed_up(found, _alike(session))
    chosen = _chosen(found, risks, names, everything)
    if not chosen:
        click.echo("No container has to be pinned: the plugin tells all of them apart.")
        return
    console().print(table([{"place": place, "like": risks.get(place)} for place in chosen], COLUMNS))
    click.echo()
    if at_once:
        _pin_now(session, chosen, yes)
    in_networks = _version(session.engine.api_version()) >= MAC_BESIDE_NETWORK
    click.echo("Put these lines where the containers are made:\n")
    click.echo("\n".join(lines(chosen, by_mac=by == "mac" and not at_once, in_networks=in_networks)))


def _alike(session: Session) -> list[Json]:
    """Whom a boot may mix up, as the plugin judges now."""
    answer = session.client.get("/v1/checks")
    if "alike" not in answer:
        raise TooOld("alike of GET /v1/checks")
    if answer["alike"] is None:
        raise Failure("the plugin does not see the engine's containers yet: `net-dhcp doctor` says why")
    found: list[Json] = answer["alike"]
    return found


def _chosen(found: list[Place], risks: Collection[Place], names: tuple[str, ...], everything: bool) -> list[Place]:
    missing = [name for name in names if name not in {place.name for place in found}]
    if missing:
        raise NotFound(f"no container on a network of this plugin is called {', '.join(missing)}")
    if names:
        return [place for place in found if place.name in names and (place in risks or not place.is_pinned)]
    return [place for place in found if place in risks or (everything and not place.is_pinned)]


def _pin_now(session: Session, chosen: list[Place], yes: bool) -> None:
    due = [place for place in chosen if place.is_running]
    for place in chosen:
        if not place.is_running:
            click.echo(f"{inert(place.name)} does not run: use the lines below, or start it and pin it then")
    if not due:
        return
    if not yes:
        names = ", ".join(inert(place.name) for place in due)
        click.echo(f"Each of these is without its network for about a second, and its connections may break: {names}")
        click.confirm("Connect them anew?", abort=True)
    failed = [place for place in due if not _connect_anew(session, place)]
    if failed:
        click.get_current_context().exit(REFUSED)
    click.echo()


def _connect_anew(session: Session, place: Place) -> bool:
    """With an id, under which the plugin keeps the MAC address and the lease. False if it went wrong."""
    name = inert(place.name)
    try:
        row = endpoints.only(session.client, place.name, place.network)
        _promise(session, row["endpoint_id"], chosen_id(place))
        session.engine.disconnect(place.container, place.network)
    except Failure as error:
        click.echo(f"{name}: not pinned, and nothing was changed: {inert(error.message)}", err=True)
        return False
    try:
        session.engine.connect(place.container, place.network, place.settings, {"id": chosen_id(place)})
    except Failure as error:
        command = f"docker network connect --driver-opt id={chosen_id(place)} {place.network} {place.name}"
        click.echo(f"{name}: it is off the network: {inert(error.message)}; fix it with `{inert(command)}`", err=True)
        return False
    after = _back(session, place)
    kept = "keeps" if after["mac"] == row["mac"] else f"had {inert(row['mac'])}, and has"
    click.echo(
        f"{name}: pinned as id={chosen_id(place)}; it {kept} {inert(after['mac'])}, with {inert(after['addresses'])}"
    )
    return True


def _promise(session: Session, endpoint_id: str, identity: str) -> None:
    try:
        session.client.post(f"/v1/endpoints/{segment(endpoint_id)}/pin", {"id": identity})
    except TooOld as error:
        raise Failure(f"{error.message}; the lines that pin it work all the same") from None


def _back(session: Session, place: Place) -> endpoints.Row:
    """The endpoint after the connection; the watcher may tell its name a moment later."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        try:
            return endpoints.only(session.client, place.name, place.network)
        except NotFound:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
