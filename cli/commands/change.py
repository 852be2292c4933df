"""`renew`, `release` and `forget`: what an operator asks the plugin to do."""

import click

from cli import endpoints
from cli.client import segment
from cli.commands.options import examples, name_argument, network_option
from cli.inert import inert
from cli.session import Session, pass_session
from cli.words import until


@click.command(
    epilog=examples(
        "net-dhcp renew web                           # after a change on the DHCP server",
        "net-dhcp ps -q --network lan | xargs -n1 net-dhcp renew",
    )
)
@name_argument
@network_option
@pass_session
def renew(session: Session, name: str, network: str | None) -> None:
    """Renew a container's lease now, as would happen at half of the lease time."""
    _ask(session, name, network, "renew", "renewed")


@click.command(
    epilog=examples(
        "net-dhcp release web                         # web gets a new lease at once",
        "net-dhcp release -y web                      # without a question",
    )
)
@name_argument
@network_option
@click.option("-y", "--yes", is_flag=True, help="do not ask")
@pass_session
def release(session: Session, name: str, network: str | None, yes: bool) -> None:
    """Release a container's lease, and get a new one.

    The container may have another address afterwards, and its connections may break.
    """
    if not yes:
        click.confirm(f"{inert(name)} may have another address then. Release its lease?", abort=True)
    _ask(session, name, network, "release", "released")


@click.command(
    epilog=examples(
        "net-dhcp forget old-web                      # a container that will not come back",
        "net-dhcp forget 02:f4:af:f3:95:ab",
    )
)
@click.argument("name", metavar="MAC|NAME|ID")
@pass_session
def forget(session: Session, name: str) -> None:
    """Forget the MAC address that the plugin keeps for a container that does not run.

    Name it by that MAC address, by the container's name or id, or by its driver-opt=id=.
    """
    session.client.delete(f"/v1/bindings/{segment(name)}")
    click.echo(f"{inert(name)}: forgotten")


def _ask(session: Session, name: str, network: str | None, what: str, done: str) -> None:
    row = endpoints.only(session.client, name, network)
    after = session.client.post(f"/v1/endpoints/{segment(row['endpoint_id'])}/{what}")
    lease = after if after.get("address") else after.get("ipv6") or {}
    had, has = row["addresses"], endpoints.addresses_of(after)
    changed = "" if had == has else f", and had {inert(had)}"
    expires = f"expires in {until(lease['expires'])}" if lease.get("expires") else "never expires"
    click.echo(f"{inert(row['name'])}: {done}; it has {inert(has)}{changed}; the lease {expires}")
