"""A job: a process that answers one question, which would take the supervisor's thread too long, and ends."""

from collections.abc import Callable
from signal import SIGKILL

from supervisor.runtime.channel import channel
from supervisor.runtime.child import Child
from supervisor.runtime.forked import Target
from supervisor.runtime.loop import Loop
from supervisor.runtime.process_manager import ProcessManager

Answer = Callable[[object | None], None]


class Jobs:
    """Starts them."""

    def __init__(self, process_manager: ProcessManager, loop: Loop) -> None:
        self._process_manager = process_manager
        self._loop = loop
        self._shared: dict[str, list[Answer]] = {}

    def ask(self, name: str, target: Target, *arguments: object, deadline: float, answer: Answer) -> None:
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
            ours, theirs = channel()
            self._process_manager.spawn(child, target, *arguments, theirs, channel=ours, theirs=(theirs,))

        self._process_manager.attempt(child, start)
        timer = self._loop.call_later(deadline, lambda: self._process_manager.kill(child, SIGKILL))

    def share(self, name: str, target: Target, *arguments: object, deadline: float, answer: Answer) -> None:
        """As `ask`. Calls that come while a shared job of this name is under way get that job's answer."""
        waiting = self._shared.setdefault(name, [])
        waiting.append(answer)

        def answered(message: object | None) -> None:
            for one in self._shared.pop(name):
                one(message)

        if len(waiting) == 1:
            self.ask(name, target, *arguments, deadline=deadline, answer=answered)
