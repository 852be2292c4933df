"""What all endpoints share."""

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.children import Nursery
from supervisor.engine import Engine
from supervisor.identity import Identifier
from supervisor.loop import Loop
from supervisor.memory import Memory
from supervisor.silence import Silence
from supervisor.store import Store


@dataclass(frozen=True, slots=True)
class Plant:
    """`gone` gets the id of an endpoint that has ended, before whoever waits for that is answered."""

    nursery: Nursery
    loop: Loop
    engine: Engine
    identifier: Identifier
    store: Store
    memory: Memory
    silence: Silence
    gone: Callable[[str], None]
