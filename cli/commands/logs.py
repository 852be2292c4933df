"""`logs`: the plugin's log lines about one container, out of Docker's log."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cli import endpoints
from cli.commands.options import examples, name_argument
from cli.errors import Failure, NotFound
from cli.inert import inert
from cli.session import Session, pass_session
from cli.words import moment

LOG = Path("/var/log/docker.log")  # where there is no systemd
_OUTER = re.compile(r' msg=("(?:[^"\\]|\\.)*"|\S+)(?= plugin=)')
_WORD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')


@click.command(
    epilog=examples(
        "net-dhcp logs web                            # all that the journal has of it",
        "net-dhcp logs -f web",
        "net-dhcp logs web --since 2h",
        "net-dhcp logs web --file /var/log/docker.log # where there is no systemd; - is standard input",
    )
)
@name_argument
@click.option("-f", "--follow", is_flag=True, help="go on until Ctrl-C")
@click.option("--since", metavar="WHEN", help="only later lines: 10m, 2h, 3d, or a date and time")
@click.option("--file", "file", metavar="PATH", help="Docker's log, instead of the journal of docker.service")
@pass_session
def logs(session: Session, name: str, follow: bool, since: str | None, file: str | None) -> None:
    """Print the plugin's log lines about a container, as the plugin wrote them.

    They are part of Docker's log. You can also name a container that no longer exists.
    """
    about = _matcher(session, name)
    try:
        with _source(file, follow, since) as source:
            for line in source:
                if (message := _message(line)) and about(message):
                    click.echo(inert(message))
    except KeyboardInterrupt:
        return


def _matcher(session: Session, name: str) -> Callable[[str], bool]:
    """Lines of the container, also those from before its name was known, which have its endpoint's id only."""
    try:
        found = endpoints.meant(endpoints.rows(session.client), name)
    except Failure:
        found = []
    names = {name} | {str(row["container"]) for row in found}
    ids = {row["endpoint_id"][: endpoints.SHORT] for row in found}

    def is_about(message: str) -> bool:
        words = {word: _unquoted(value) for word, value in _WORD.findall(message)}
        return words.get("container") in names or words.get("endpoint") in ids

    return is_about


def _message(line: str) -> str | None:
    """What the plugin has printed, out of dockerd's line; None for a line of dockerd's own."""
    found = _OUTER.search(line)
    return _unquoted(found[1]).rstrip() if found else None


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text)) if text.startswith('"') else text
    except ValueError:
        return text


@contextmanager
def _source(file: str | None, follow: bool, since: str | None) -> Iterator[Iterable[str]]:
    """Docker's log, line by line."""
    if file == "-":
        yield sys.stdin
        return
    path = Path(file) if file else None if shutil.which("journalctl") else LOG
    if path is not None and not path.exists():
        raise NotFound(f"there is neither journalctl nor {path}: name Docker's log by --file")
    argv = _journal(follow, since) if path is None else ["tail", "-n", "+1", *(["-F"] if follow else []), str(path)]
    try:
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, errors="replace") as process:
            yield process.stdout or ()
            process.terminate()
    except OSError as error:
        raise Failure(f"{argv[0]} cannot be started: {error}") from None


def _journal(follow: bool, since: str | None) -> list[str]:
    began = ["--since", moment(since).strftime("%Y-%m-%d %H:%M:%S")] if since else []
    return [
        "journalctl",
        "--unit=docker.service",
        "--output=cat",
        "--no-pager",
        *began,
        *(["--follow"] if follow else []),
    ]
