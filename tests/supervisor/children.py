"""What the tests of real children share: a process manager with its loop, and a child that keeps a diary."""

import gc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL

from supervisor.runtime.channel import channel
from supervisor.runtime.child import Child
from supervisor.runtime.forked import End, Target
from supervisor.runtime.loop import Loop
from supervisor.runtime.process_manager import ProcessManager
from workers.system.backoff import Backoff
from workers.system.libc import adopt_orphans

PATIENCE_SECONDS = 30.0
QUICK = 0.01


@dataclass
class Diary:
    """All that a child did, in its order: messages as they are, exit statuses as ("exit", status)."""

    entries: list[object] = field(default_factory=list)

    def note_exit(self, status: int) -> None:
        """The child has ended."""
        self.entries.append(("exit", status))


@dataclass
class Home:
    """A process manager and the loop that it lives in."""

    loop: Loop = field(default_factory=Loop)
    process_manager: ProcessManager = field(init=False)

    def __post_init__(self) -> None:
        self.process_manager = ProcessManager(self.loop)

    def child(self, name: str = "nd-test") -> tuple[Child, Diary]:
        """A child that was not spawned yet."""
        diary = Diary()
        return Child(name, "test", diary.entries.append, diary.note_exit, Backoff(first=QUICK)), diary

    def spawn(self, child: Child, target: Target, *arguments: object, keep: End | None = None) -> None:
        """With a channel, which is the target's last argument."""
        ours, theirs = channel()
        self.process_manager.spawn(child, target, *arguments, theirs, channel=ours, theirs=(theirs,), keep=keep)

    def wait_for(self, done: Callable[[], object]) -> None:
        """Runs the loop until it is so."""
        overdue: list[bool] = []
        timer = self.loop.call_later(PATIENCE_SECONDS, lambda: overdue.append(True))
        while not done():
            assert not overdue, "waited in vain"
            self.loop.step()
        timer.cancel()

    def close(self) -> None:
        """Ends all children that are left."""
        for child in self.process_manager.children:
            self.process_manager.kill(child, SIGKILL)
        self.wait_for(lambda: not self.process_manager.children)
        adopt_orphans(adopt=False)  # other tests' orphans are init's again


def descriptors() -> dict[int, str]:
    """Ours, with what each one is; those of garbage are closed first, so that none goes between two looks."""
    gc.collect()
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that the directory is read by
            found[int(link.name)] = str(link.readlink())
    return found
