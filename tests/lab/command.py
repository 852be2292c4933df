"""Running commands and waiting for what they bring about. Knows no command in particular."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
MACHINE = "/run/machine"  # its root, where a test runs in the plugin's root file system
SLOWNESS = float(os.environ.get("SLOWNESS", "1"))  # how much longer than on a usual machine all takes here
PATIENCE_SECONDS = 30.0  # of a usual wait; where nothing is wrong it does not matter how many
SLACK_SECONDS = 5.0  # that a busy machine may take for what is done at once
POLL_INTERVAL = 0.02  # seconds; a file or a socket of another process cannot be waited for otherwise


class CommandFailed(Exception):
    """A command exited non-zero; the text holds the command and what it printed."""


class NotReached(Exception):
    """What was waited for did not come about within its deadline."""


def run(
    *argv: str | Path, stdin: bytes | None = None, env: Mapping[str, str] | None = None, timeout: float = 120
) -> str:
    """The command's standard output without the trailing newline; raises CommandFailed."""
    words = [str(word) for word in argv]
    done = subprocess.run(words, input=stdin, env=env, timeout=timeout * SLOWNESS, capture_output=True, check=False)
    if done.returncode:
        output = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise CommandFailed(f"{' '.join(words)}: exit status {done.returncode}: {output}")
    return done.stdout.decode(errors="replace").rstrip("\n")


def on_machine(*argv: str) -> list[str]:
    """The command line that runs `argv` with the machine's tools, wherever the test runs."""
    # By a path, because a static busybox would take its own applet of that name.
    return [*(("busybox", "chroot", MACHINE, "/usr/bin/env") if Path(MACHINE).is_dir() else ()), *argv]


def wait_until(
    predicate: Callable[[], T], what: str, timeout: float = PATIENCE_SECONDS, interval: float = POLL_INTERVAL
) -> T:
    """The predicate's first true value; raises NotReached, which names `what`, after `timeout` seconds.

    A slow machine has more of them. Whoever gives the number wants more than usual, or to prove that no more pass.
    """
    deadline = time.monotonic() + timeout * SLOWNESS
    while not (value := predicate()):
        if time.monotonic() >= deadline:
            raise NotReached(f"waited {timeout * SLOWNESS:.0f} s for {what}")
        time.sleep(interval)
    return value
