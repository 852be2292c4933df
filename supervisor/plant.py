"""What all endpoints share."""

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.children import Nursery
from supervisor.engine import Engine
from supervisor.identity import Identifier
from supervisor.loop import Loop
from supervisor.memory import Memory
from supervisor.silence import Silence
from supervisor.spare import Spare
from supervisor.store import Store
from workers.messages import EndpointSpec


@dataclass(frozen=True, slots=True)
class Plant:
    """What is told of an endpoint's end: `gone`, before whoever waits for it is answered, and `cleared`, with the exit
    status of its last process, which has removed the link by then.
    """

    nursery: Nursery
    spare: Spare
    loop: Loop
    engine: Engine
    identifier: Identifier
    store: Store
    memory: Memory
    silence: Silence
    gone: Callable[[EndpointSpec], None]
    cleared: Callable[[EndpointSpec, int], None]
