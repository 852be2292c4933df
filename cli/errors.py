"""Why a command fails, and by which exit status a script knows it."""

from typing import IO, Any

import click

from cli.inert import inert

DONE, WRONG, USAGE, NOT_FOUND, UNREACHABLE, NOT_ROOT, REFUSED, WARNED = range(8)

MEANINGS = {
    DONE: "done; `doctor` found neither an error nor a warning",
    WRONG: "`doctor` found an error, or a command failed in a way that no other status names",
    USAGE: "the command line is wrong",
    NOT_FOUND: "there is no such container, network, address or plugin",
    UNREACHABLE: "the plugin or the engine does not answer",
    NOT_ROOT: "only root may do this",
    REFUSED: "the plugin or the engine refused the request, and said why",
    WARNED: "`doctor` found warnings, but no error",
}


class Failure(click.ClickException):
    """Ends the command; the message tells what was seen and what to do."""

    exit_code = WRONG

    def show(self, file: IO[Any] | None = None) -> None:
        """On standard error, as harmless text."""
        click.echo(f"net-dhcp: {inert(self.message)}", file=file, err=file is None)


class NotFound(Failure):
    """What was named is not there."""

    exit_code = NOT_FOUND


class Unreachable(Failure):
    """The plugin or the engine does not answer."""

    exit_code = UNREACHABLE


class NotRoot(Failure):
    """Only root may do it."""

    exit_code = NOT_ROOT

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is open to root only: run the command as root, or with sudo")


class Refused(Failure):
    """The other side said no."""

    exit_code = REFUSED


class TooOld(Refused):
    """The plugin does not know the question."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the plugin does not know {what}, so it is older than this command: upgrade the plugin")
