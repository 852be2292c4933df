"""An endpoint's worker as a process: started, told, attached once to each sandbox, started again after its death, and
found to hang.

Must not know the endpoint's phases: what a successor has to do comes from `succeed`.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from signal import SIGKILL

from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildState
from supervisor.runtime.process_manager import ProcessManager
from supervisor.runtime.spare_worker import Spare
from workers.contract import messages as w
from workers.contract.lease import Family
from workers.system.clock import boottime

STUCK_SECONDS = 10.0  # after the end of a lease, which a worker that lives has told by then


class WorkerProcess:
    """One endpoint's, over all its restarts.

    `on_death` gets the exit status of one that is to have a successor, and calls `start_again_later`; `succeed` is
    called when it is time for that, and calls `start`.
    """

    def __init__(
        self,
        spec: w.EndpointSpec,
        process_manager: ProcessManager,
        spare: Spare,
        *,
        on_report: Callable[[object], None],
        on_death: Callable[[int], None],
        succeed: Callable[[], None],
    ) -> None:
        self.child = Child(spec.process_name, "worker", on_report, self._on_exit)
        self.clients: dict[Family, int] = {}  # the pids of those that keep the leases
        self._spec = spec
        self._process_manager = process_manager
        self._spare = spare
        self._on_death = on_death
        self._succeed = succeed
        self._attached_to: str | None = None
        self._heard = boottime()
        self._mute: float | None = None

    def start(self, resume: w.Resume | None, *, reclaims: bool = False) -> None:
        """Gives it a process. `reclaims`: only to remove what one left that died before it had a lease to report."""
        self._attached_to = None
        self._spare.employ(self.child)
        self.child.send(w.Begin(self._spec, resume, reclaims))

    def start_again_later(self) -> float:
        """Gives the seconds until then: more with each death."""
        return self._process_manager.respawn_later(self.child, self._succeed)

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

    def tell(self, command: w.LeaveSandbox | w.Delete) -> None:
        """Somebody waits for this, so a worker that waits for its next start gets it now, and is told then."""
        if self.child.state is ChildState.BACKOFF:
            self._succeed()
        else:
            self.child.send(command)

    def set_client(self, family: Family, pid: int | None) -> None:
        """The process that keeps the family's lease, if one does."""
        if pid is None:
            self.clients.pop(family, None)
        else:
            self.clients[family] = pid

    def heard(self) -> None:
        """To be called with each report."""
        self._heard = boottime()

    def hangs(self, expiries: Iterable[float]) -> bool:
        """To be asked often: whether it has let a lease expire (`boottime()`) without a word.

        Right after a suspend it may just not have come to it, so it is given time again.
        """
        now = boottime()
        expired = max((at for at in expiries if at <= now), default=None)
        if expired is None or self._heard > expired or now < expired + STUCK_SECONDS:
            self._mute = None
        elif self._mute is None:
            self._mute = time.monotonic()
        elif time.monotonic() - self._mute >= STUCK_SECONDS:
            self._mute = None
            return True
        return False

    def kill(self) -> None:
        """It is overdue; its successor does what it should have done."""
        self._process_manager.kill(self.child, SIGKILL)

    def hang_up(self) -> None:
        """It ends, and releases nothing: the container lives on."""
        self._process_manager.hang_up(self.child)

    def _on_exit(self, status: int) -> None:
        self.clients.clear()
        if self.child.state is ChildState.BACKOFF:
            self._on_death(status)
