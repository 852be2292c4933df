"""The plugin's first process, `python3 -I -OO -m supervisor.init`: waits for the supervisor and orphans.

When the supervisor is killed, so are its children, and their exits go to the next process that takes orphans. That must
not be containerd's shim: it needs half a second for each exit beyond the first 32 that come while it ends the
container, and only then the engine starts the plugin again. Forks when all is loaded: a process that does nothing
shares its memory with all others.
"""

import os
import signal
import sys

from supervisor.__main__ import prepare
from workers.system.libc import adopt_orphans, follow_parent, take_name

NAME = "nd-init"
TOLD = (signal.SIGTERM, signal.SIGINT)
GRACE_SECONDS = 2  # for orphans, which the kernel is killing; the rest is killed with the container


def main() -> None:
    """Ends as the supervisor did, when no other process is left."""
    listener, serve = prepare()
    first = os.getpid()
    adopt_orphans()
    # We wait for signals and do not handle them: a handler does not interrupt a wait that is just about to begin.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*TOLD, signal.SIGCHLD))
    supervisor = os.fork()
    if supervisor == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        follow_parent(first, signal.SIGKILL)
        serve()
        return
    listener.close()  # so that connections are refused when the supervisor has gone
    take_name(NAME)
    status = _await_end(supervisor)
    signal.alarm(GRACE_SECONDS)  # ends a process that does not handle it
    _await_orphans()
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)  # as a shell reports a signal


def _await_end(supervisor: int) -> int:
    """Passes signals on to the supervisor; returns the status of a wait."""
    while True:
        number = signal.sigwait((*TOLD, signal.SIGCHLD))
        if number in TOLD:
            os.kill(supervisor, number)
        else:
            pid, status = os.waitpid(supervisor, os.WNOHANG)
            if pid == supervisor:
                return status


def _await_orphans() -> None:
    try:
        while True:
            os.wait()
    except ChildProcessError:
        return  # no process is left


if __name__ == "__main__":
    main()
