"""What all endpoints share."""

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.engine.facts import Engine
from supervisor.engine.identity import Identifier
from supervisor.runtime.loop import Loop
from supervisor.runtime.process_manager import ProcessManager
from supervisor.runtime.spare_worker import Spare
from supervisor.state.bindings import Bindings
from supervisor.state.store import Store
from workers.contract.messages import EndpointSpec


@dataclass(frozen=True, slots=True)
class EndpointContext:
    """What is told of an endpoint's end: `gone`, before whoever waits for it is answered, and `cleared`, with the exit
    status of its last process, which has removed the link by then.
    """

    process_manager: ProcessManager
    spare: Spare
    loop: Loop
    engine: Engine
    identifier: Identifier
    store: Store
    bindings: Bindings
    gone: Callable[[EndpointSpec], None]
    cleared: Callable[[EndpointSpec, int], None]
