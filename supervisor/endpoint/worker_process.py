"""An endpoint's worker as a process: starts it, sends commands to it, restarts it after a death, notices if it hangs.

Must not know the endpoint's phases, nor the work of a successor.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildState
from supervisor.runtime.process_manager import ProcessManager
from supervisor.runtime.spare_worker import SpareWorker
from workers.contract import messages as w
from workers.contract.lease import Family
from workers.system.clock import boottime

STUCK_SECONDS = 10.0  # after a lease has expired: a worker that does not hang has reported it by then


@dataclass(eq=False)
class WorkerProcess:
    """The worker of one endpoint, over all restarts. `clients` are the pids of the processes that keep its leases.

    `on_death` gets the exit status of a process and may call `retry_later`. When it is time for a successor, `on_retry`
    is called, and calls `start`.
    """

    spec: w.EndpointSpec
    process_manager: ProcessManager
    spare: SpareWorker
    on_report: Callable[[object], None]
    on_death: Callable[[int], None]
    on_retry: Callable[[], None]

    def __post_init__(self) -> None:
        self.child = Child(self.spec.process_name, "worker", self.on_report, self._on_exit)
        self.clients: dict[Family, int] = {}
        self._attached_to: str | None = None
        self._heard = boottime()
        self._silent_since: float | None = None

    def start(self, resume: w.Resume | None, *, reclaims: bool = False) -> None:
        """Starts a process. `reclaims`: it only undoes the work of one that died before it reported a lease."""
        self._attached_to = None
        self.spare.assign(self.child)
        self.child.send(w.Begin(self.spec, resume, reclaims, logging.getLogger().level))

    def retry_later(self) -> float:
        """Starts a successor later. Returns in how many seconds: more with each death."""
        return self.process_manager.respawn_later(self.child, self.on_retry)

    def is_attached_to(self, path: Path) -> bool:
        """Whether the present process knows of this sandbox."""
        return self._attached_to == str(path)

    def attach(self, command: w.Attach) -> None:
        """Tells the process where the sandbox is."""
        self._attached_to = command.path
        self.child.send(command)

    def send(self, command: w.Command) -> None:
        """Sends the command to the present process, if there is one."""
        self.child.send(command)

    def send_now(self, command: w.LeaveSandbox | w.Delete) -> None:
        """As `send`, but a successor that would start later starts now, and `on_retry` gives it its work."""
        if self.child.state is ChildState.BACKOFF:
            self.on_retry()
        else:
            self.child.send(command)

    def set_client(self, family: Family, pid: int | None) -> None:
        """The process with this pid keeps the family's lease, or none does."""
        if pid is None:
            self.clients.pop(family, None)
        else:
            self.clients[family] = pid

    def heard(self) -> None:
        """The worker has reported something."""
        self._heard = boottime()

    def hangs(self, expiries: Iterable[float]) -> bool:
        """Whether the worker has let a lease expire (`boottime()`) and reported nothing. Ask often.

        Right after a suspend it may not have had the time to report, so it gets STUCK_SECONDS from then on.
        """
        now = boottime()
        expired = max((at for at in expiries if at <= now), default=None)
        if expired is None or self._heard > expired or now < expired + STUCK_SECONDS:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = time.monotonic()
        elif time.monotonic() - self._silent_since >= STUCK_SECONDS:
            self._silent_since = None
            return True
        return False

    def kill(self) -> None:
        """Kills the process; a successor does the work that it should have done."""
        self.process_manager.kill(self.child, SIGKILL)

    def disconnect(self) -> None:
        """The process ends and releases nothing: the container lives on."""
        self.process_manager.disconnect(self.child)

    def _on_exit(self, status: int) -> None:
        self.clients.clear()
        if self.child.state is ChildState.BACKOFF:
            self.on_death(status)
