"""A job: a process that answers one question, which would take the supervisor's thread too long, and ends."""

from collections.abc import Callable
from multiprocessing import Pipe
from signal import SIGKILL

from supervisor.runtime.child import Child
from supervisor.runtime.forked import Target
from supervisor.runtime.loop import Loop
from supervisor.runtime.process_manager import ProcessManager


class Jobs:
    """Starts them."""

    def __init__(self, process_manager: ProcessManager, loop: Loop) -> None:
        self._process_manager = process_manager
        self._loop = loop

    def ask(
        self,
        name: str,
        target: Target,
        *arguments: object,
        deadline: float,
        answer: Callable[[object | None], None],
    ) -> None:
        """Runs `target(*arguments, channel)` in a process of its own; `answer` gets the one message that it sends.

        `answer` gets None if the process ended without a message, was killed after `deadline` seconds, or could not be
        started.
        """
        messages: list[object] = []

        def ended(_: int) -> None:
            timer.cancel()
            answer(messages[0] if messages else None)

        child = Child(name, "job", on_message=messages.append, on_exit=ended)

        def start() -> None:
            ours, theirs = Pipe()
            self._process_manager.spawn(child, target, *arguments, theirs, channel=ours, theirs=(theirs,))

        self._process_manager.attempt(child, start)
        timer = self._loop.call_later(deadline, lambda: self._process_manager.kill(child, SIGKILL))
