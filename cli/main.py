"""The command line: its options for all commands, and the ways in which it is called.

Docker calls `docker-dhcp [ITS OPTIONS] dhcp ARGS`, `docker-dhcp docker-cli-plugin-metadata` to get to know it,
`docker-dhcp help dhcp` and `docker-dhcp __complete dhcp WORDS`. People call `net-dhcp ARGS`.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

import click

from cli import VERSION
from cli.about import metadata
from cli.completion import COBRA, COBRA_PLAIN, VARIABLE, answer_cobra
from cli.errors import MEANINGS
from cli.session import Session
from cli.where import Target

METADATA = "docker-cli-plugin-metadata"
NAME = "dhcp"
# Each is loaded when it is called: a list of containers does not wait for what talks to the engine.
COMMANDS = {
    "completion": "cli.completion:completion",
    "doctor": "cli.commands.doctor:doctor",
    "events": "cli.commands.events:events",
    "forget": "cli.commands.change:forget",
    "inspect": "cli.commands.inspect:inspect",
    "leases": "cli.commands.leases:leases",
    "logs": "cli.commands.logs:logs",
    "man": "cli.manual:man",
    "pin": "cli.commands.pin:pin",
    "ps": "cli.commands.ps:ps",
    "release": "cli.commands.change:release",
    "renew": "cli.commands.change:renew",
    "top": "cli.commands.top:top",
    "version": "cli.commands.version:version",
}
# Docker's options, which it passes on; those for TLS are about engines elsewhere.
VALUED = {"-H", "--host", "-c", "--context", "--config", "-l", "--log-level", "--plugin", "--socket"}
VALUED |= {"--tlscacert", "--tlscert", "--tlskey"}


class _Commands(click.Group):
    """Loads a command when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(module), name)
        return command if isinstance(command, click.Command) else None


EPILOG = (
    "\b\nExamples:\n"
    "  net-dhcp ps                   # which container has which lease\n"
    "  net-dhcp doctor               # why containers get none, and how to fix it\n"
    "  net-dhcp COMMAND --help       # more, with examples\n\n"
    "\b\nExit status:\n" + "\n".join(f"  {status}  {meaning}" for status, meaning in MEANINGS.items())
)


@click.group(
    cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option("-H", "--host", metavar="URL", help="the engine's socket, as of the docker command")
@click.option("-c", "--context", metavar="NAME", help="the context of the docker command")
@click.option("--plugin", metavar="NAME", envvar="NET_DHCP_PLUGIN", help="which plugin, if the engine has several")
@click.option("--socket", metavar="PATH", envvar="NET_DHCP_SOCKET", help="the plugin's socket, if it is not found")
@click.option("--config", metavar="DIRECTORY", hidden=True)
@click.option("-l", "--log-level", hidden=True)
@click.option("--tlscacert", hidden=True)
@click.option("--tlscert", hidden=True)
@click.option("--tlskey", hidden=True)
@click.option("-D", "--debug", is_flag=True, hidden=True)
@click.option("--tls", is_flag=True, hidden=True)
@click.option("--tlsverify", is_flag=True, hidden=True)
@click.version_option(VERSION, prog_name="net-dhcp")
@click.pass_context
def group(
    click_context: click.Context,
    /,
    *,
    host: str | None,
    context: str | None,
    plugin: str | None,
    socket: str | None,
    config: str | None,
    **_of_docker_only: object,
) -> None:
    """Look at the leases of containers, and find out why they get none.

    It speaks to the plugin on this host, as root. `net-dhcp` and `docker dhcp` are the same command.
    """
    if config:
        os.environ["DOCKER_CONFIG"] = config
    click_context.obj = session = Session(Target(host, context, plugin, socket))
    click_context.call_on_close(session.close)


def main() -> None:
    """The entry point of both names."""
    words, name = sys.argv[1:], Path(sys.argv[0]).name
    if words == [METADATA]:
        click.echo(metadata())
        return
    before, words = _of_docker(words)
    is_called_by_docker = words[:1] == [NAME]
    if words[:1] in ([COBRA], [COBRA_PLAIN]):
        answer_cobra(group, [*before, *words[2:]])
        return
    if words[:2] == ["help", NAME]:
        is_called_by_docker, words = True, [NAME, *words[2:], "--help"]
    program = "docker dhcp" if is_called_by_docker else "net-dhcp" if name in ("__main__.py", "docker-dhcp") else name
    group.main([*before, *(words[1:] if is_called_by_docker else words)], program, complete_var=VARIABLE)


def _of_docker(words: list[str]) -> tuple[list[str], list[str]]:
    """The options before the first word that is none, and all from that on."""
    end = 0
    while end < len(words) and words[end].startswith("-") and words[end] not in ("--help", "-h", "--version"):
        end += 2 if words[end] in VALUED else 1
    return words[:end], words[end:]
