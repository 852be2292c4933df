"""`doctor`: names what fails, and the command that fixes it."""

from collections.abc import Iterator

import click

from cli.commands.options import examples
from cli.doctor.containers import of_containers
from cli.doctor.finding import Finding, Severity
from cli.doctor.host import of_engine, of_host
from cli.doctor.networks import of_networks
from cli.doctor.plugin import of_plugin
from cli.errors import DONE, WARNED, WRONG
from cli.inert import inert
from cli.output import STYLES, TABLE, console, lines
from cli.session import Session, pass_session


@click.command(
    epilog=examples(
        "net-dhcp doctor                              # everything",
        "net-dhcp doctor lan                          # one network",
        "net-dhcp doctor --no-probe --format json     # for a monitor: the exit status tells, too",
    )
)
@click.argument("network", required=False)
@click.option("--probe/--no-probe", default=True, help="ask each LAN's DHCP server for an offer; this leaves no lease")
@click.option("-q", "--quiet", is_flag=True, help="only errors and warnings")
@click.option("--format", "form", default=TABLE, metavar="FORMAT", help="json, or a template such as '{{.id}}'")
@pass_session
def doctor(session: Session, *, network: str | None, probe: bool, quiet: bool, form: str) -> None:
    """Look for the reasons why containers get no lease, and say how to fix each.

    It looks at the host, the engine, the plugin, and each network with its containers. The exit status is 0 if all is
    well, 1 with an error, and 7 with warnings only. Please include the output in a bug report.
    """
    worst = Severity.OK
    for finding in examine(session, network, probe=probe):
        worst = max(worst, finding.severity, key=list(Severity).index)
        if not quiet or finding.severity in (Severity.ERROR, Severity.WARNING):
            _print(finding, form)
    click.get_current_context().exit({Severity.ERROR: WRONG, Severity.WARNING: WARNED}.get(worst, DONE))


def examine(session: Session, network: str | None, *, probe: bool) -> Iterator[Finding]:
    """From the outside in; what needs a plugin is left out if none answers."""
    yield from of_host()
    yield from of_engine(session)
    plugin = list(of_plugin(session))
    yield from plugin
    if plugin[0].severity is Severity.OK:
        yield from of_networks(session, network, probe=probe)
        yield from of_containers(session, network)


def _print(finding: Finding, form: str) -> None:
    if form != TABLE:
        click.echo("\n".join(lines([finding.row()], form.removeprefix(TABLE + " "))))
        return
    from rich.text import Text

    line = Text.assemble((f"{finding.severity:8}", STYLES[finding.severity]), " ", (inert(finding.about), "bold"), ": ")
    console().print(line.append(inert(finding.found)), soft_wrap=True)  # a command that is copied has no line breaks
    if finding.remedy:
        console().print(Text(f"         fix: {inert(finding.remedy)}"), soft_wrap=True)
