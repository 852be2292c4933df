"""Completion in bash, zsh and fish: of `net-dhcp` by click's scripts, of `docker dhcp` by Docker's own.

Docker asks its plugins in cobra's words: `__complete dhcp WORD... INCOMPLETE`. The answer is a candidate a line, with
its description behind a tab, and a last line that tells the shell to offer no files.
"""

import click
from click.shell_completion import ShellComplete, get_completion_class

from cli.inert import inert

COBRA, COBRA_PLAIN = "__complete", "__completeNoDesc"
NO_FILES = ":4"
VARIABLE = "_NET_DHCP_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


def answer_cobra(group: click.Group, words: list[str]) -> None:
    """Prints the candidates for the last of the words."""
    *before, incomplete = words or [""]
    found = ShellComplete(group, {}, "net-dhcp", VARIABLE).get_completions(before, incomplete)
    for item in found:
        click.echo(inert(item.value) + (f"\t{inert(item.help)}" if item.help else ""))
    click.echo(NO_FILES)


@click.command(
    epilog="\b\nExamples:\n"
    "  net-dhcp completion bash > /etc/bash_completion.d/net-dhcp\n"
    "  net-dhcp completion zsh  > /usr/local/share/zsh/site-functions/_net-dhcp\n"
    "  net-dhcp completion fish > /etc/fish/completions/net-dhcp.fish"
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script by which a shell completes `net-dhcp`.

    `docker dhcp` is completed by Docker's own script (docker completion bash).
    """
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"no completion for {shell}")
    complete = made(click.Group(), {}, "net-dhcp", VARIABLE)
    click.echo(complete.source_template % complete.source_vars())
