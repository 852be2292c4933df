"""What all endpoints share: the parts of the supervisor that they use, and whom they tell of their end."""

from collections.abc import Callable
from dataclasses import dataclass

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
    """An endpoint calls `on_end` when it is over, before it answers the requests that wait for that, and then `on_exit`
    with the exit status of its last worker process, which has removed the link if that is 0.
    """

    process_manager: ProcessManager
    spare: SpareWorker
    loop: Loop
    engine: Engine
    identifier: Identifier
    store: Store
    bindings: Bindings
    on_end: Callable[[EndpointSpec], None]
    on_exit: Callable[[EndpointSpec, int], None]
