"""An endpoint's worker as a process: started, told, attached once to each sandbox, started again after its death.

Must not know the endpoint's phases: what a successor has to do comes from `succeed`.
"""

from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from signal import SIGKILL

from supervisor.children import Child, Nursery
from supervisor.childstate import ChildState
from workers import messages as w
from workers.endpoint import reclaim, run


class WorkerProcess:
    """One endpoint's, over all its restarts.

    `on_death` gets the exit status of one that is to have a successor, and calls `start_again_later`; `succeed` is
    called when it is time for that, and calls `start`.
    """

    def __init__(
        self,
        spec: w.EndpointSpec,
        nursery: Nursery,
        *,
        on_report: Callable[[object], None],
        on_death: Callable[[int], None],
        succeed: Callable[[], None],
    ) -> None:
        self.child = Child(f"nd-{spec.endpoint_id[:12]}", "worker", on_report, self._on_exit)
        self.udhcpc_pid: int | None = None
        self._spec = spec
        self._nursery = nursery
        self._on_death = on_death
        self._succeed = succeed
        self._attached_to: str | None = None

    def start(self, resume: w.Resume | None, *, reclaims: bool = False) -> None:
        """Forks it; `reclaims`: only to remove what a predecessor left that died before it had a lease to report."""
        ours, theirs = Pipe()
        self._attached_to = None
        target = reclaim if reclaims else run
        self._nursery.spawn(self.child, target, self._spec, theirs, resume, channel=ours, theirs=(theirs,))

    def start_again_later(self) -> float:
        """Gives the seconds until then: more with each death."""
        return self._nursery.respawn_later(self.child, self._succeed)

    def is_attached_to(self, path: Path) -> bool:
        """Whether the process that runs now was told of this sandbox."""
        return self._attached_to == str(path)

    def attach(self, command: w.Attach) -> None:
        """Sends it where the sandbox is."""
        self._attached_to = command.path
        self.child.send(command)

    def send(self, command: w.Command) -> None:
        """To the process that runs, if one does."""
        self.child.send(command)

    def tell(self, command: w.Leave | w.Delete) -> None:
        """Somebody waits for this, so a worker that waits for its next start gets it now, and is told then."""
        if self.child.state is ChildState.BACKOFF:
            self._succeed()
        else:
            self.child.send(command)

    def kill(self) -> None:
        """It is overdue; its successor does what it should have done."""
        self._nursery.kill(self.child, SIGKILL)

    def hang_up(self) -> None:
        """It ends, and releases nothing: the container lives on."""
        self._nursery.hang_up(self.child)

    def _on_exit(self, status: int) -> None:
        self.udhcpc_pid = None
        if self.child.state is ChildState.BACKOFF:
            self._on_death(status)
