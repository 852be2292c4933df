"""`version`: of the command, the plugin and the engine."""

import click

from cli import VERSION
from cli.commands.options import examples, format_option
from cli.errors import Failure
from cli.output import Column, Row, show
from cli.session import Session, pass_session
from cli.words import NONE

COLUMNS = (
    Column("WHAT", lambda row: row["what"]),
    Column("VERSION", lambda row: row["version"] or NONE),
    Column("WHERE", lambda row: row["where"]),
)


@click.command(epilog=examples("net-dhcp version", "net-dhcp version --format json"))
@format_option
@pass_session
def version(session: Session, form: str) -> None:
    """Show the versions of this command, the plugin and the engine; what does not answer has none."""
    found: list[Row] = [{"what": "command", "version": VERSION, "where": "this file"}]
    try:
        health = session.client.health()
        found.append({"what": "plugin", "version": health.get("version"), "where": str(session.client.path)})
    except Failure as error:
        found.append({"what": "plugin", "version": None, "where": error.message})
    try:
        info = session.engine.info()
        found.append({"what": "engine", "version": info["ServerVersion"], "where": session.engine.host})
    except Failure as error:
        found.append({"what": "engine", "version": None, "where": error.message})
    show(found, COLUMNS, form)
