"""The context that all endpoints share: the parts of the supervisor that they use, and the calls at their end."""

from collections.abc import Callable
from dataclasses import dataclass, field

from supervisor.domain.tally import Tally
from supervisor.engine.facts import Engine
from supervisor.engine.identity import Identifier
from supervisor.runtime.loop import Loop
from supervisor.runtime.process_manager import ProcessManager
from supervisor.runtime.spare_worker import SpareWorker
from supervisor.state.bindings import Bindings
from supervisor.state.store import Store
from workers.contract.messages import EndpointSpec


@dataclass(frozen=True, slots=True)
class EndpointContext:
    """An endpoint calls `on_change` when its phase or an address has changed.

    It calls `on_end` when it has ended, before it answers the requests that wait for its end.

    Then it calls `on_exit` with the exit status of its last worker process: 0 if the worker has removed the link.
    `tally` counts its failures with those of all others.
    """

    process_manager: ProcessManager
    spare: SpareWorker
    loop: Loop
    engine: Engine
    identifier: Identifier
    store: Store
    bindings: Bindings
    on_end: Callable[[EndpointSpec], None] = lambda _: None
    on_exit: Callable[[EndpointSpec, int], None] = lambda _, __: None
    on_change: Callable[[EndpointSpec], None] = lambda _: None
    tally: Tally = field(default_factory=Tally)
