"""The plugin's first process, `python3 -I -m supervisor.init`: waits for the supervisor and for whoever outlives it.

When the supervisor is killed, so are its children, and their exits go to the next process that takes orphans. That must
not be containerd's shim: it needs half a second for each exit beyond the first 32 that come while it ends the
container, and only then the engine starts the plugin again. Imports next to nothing before the fork.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
NAME = b"nd-init"
GRACE_SECONDS = 2.0  # for orphans, which are being killed by the kernel
CHILDREN = Path("/proc/thread-self/children")
LIBC = ctypes.CDLL(None)


def main() -> None:
    """Ends as the supervisor has, when nobody is left."""
    parent = os.getpid()
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    supervisor = os.fork()
    if supervisor == 0:
        _supervise(parent)
        return
    LIBC.prctl(PR_SET_NAME, NAME, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(supervisor, number))
    _, status = os.waitpid(supervisor, 0)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    _await_orphans()
    sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def _supervise(parent: int) -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before the kernel knew that we want to follow
    from supervisor.__main__ import main as serve

    serve()


def _await_orphans() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while _reap():
        if signal.sigtimedwait([signal.SIGCHLD], GRACE_SECONDS) is None:
            for pid in CHILDREN.read_text().split():
                os.kill(int(pid), signal.SIGKILL)


def _reap() -> bool:
    """Takes the exits that there are; whether anybody is left."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    main()
