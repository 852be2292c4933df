"""A server of the laboratory: one process in a network namespace, with a directory for its log and what it keeps."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.lab.command import NotReached, wait_until
from tests.lab.network import inside
from tests.lab.process import Process, spawn

START_SECONDS = 60
LAST_WORDS = 1000  # characters of what it has said, in a failure


@dataclass(frozen=True, slots=True)
class Daemon:
    """`directory` outlives a restart; `netns` is None for the namespace that the test is in."""

    name: ClassVar[str]
    started: ClassVar[str]  # what its log says when it listens

    directory: Path
    netns: str | None

    @property
    def log_file(self) -> Path:
        """Everything since the first start."""
        return self.directory / f"{self.name}.log"

    @property
    def process(self) -> Process | None:
        """It, if it runs."""
        return Process.recorded(self._record)

    def log(self) -> str:
        """The whole log."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def launch(self, *argv: str, output: Path | None = None) -> None:
        """Returns when it listens; its output is its log unless that is written otherwise. A failure shows it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        before, said = len(self.log()), output or self.log_file
        process = spawn(inside(self.netns, *argv), said)
        process.record(self._record)
        try:
            wait_until(lambda: self._listens(process, before), f"the start of {self.name}", START_SECONDS)
        except NotReached as failure:
            failure.add_note(f"it has said: {said.read_text(errors='replace')[-LAST_WORDS:]}")
            raise

    def stop(self) -> None:
        """Nobody serves any more; what it keeps stays until the directory goes."""
        if process := self.process:
            process.stop()
        self._record.unlink(missing_ok=True)

    def kill(self) -> None:
        """As a power failure would."""
        if process := self.process:
            process.kill(signal.SIGKILL)
            wait_until(lambda: not process.alive, f"the end of {self.name}")

    def _listens(self, process: Process, before: int) -> bool:
        """Raises NotReached where it has ended."""
        ended = not process.alive  # before its last words are looked at
        if self.started in self.log()[before:]:
            return True
        if ended:
            raise NotReached(f"{self.name} ended at its start")
        return False

    @property
    def _record(self) -> Path:
        return self.directory / f"{self.name}.pid"
