"""What operators ask, answered: is the plugin well, which endpoints are there, what do its processes cost.

Changes nothing. What the answers say is in supervisor.ops.views.
"""

import os
import time
import uuid
from collections.abc import Callable

from supervisor.contract.messages import (
    EndpointList,
    GetHealth,
    Health,
    ListEndpoints,
    ListWorkers,
    Question,
    Respond,
    WorkerList,
)
from supervisor.driver.networks import Networks
from supervisor.driver.registry import Registry
from supervisor.engine.facts import Engine
from supervisor.ops.views import problems, view_endpoint, view_workers
from supervisor.runtime.child import Child
from supervisor.runtime.jobs import ask
from supervisor.runtime.loop import Loop
from supervisor.runtime.process_manager import ProcessManager
from supervisor.state.store import Store

SAMPLER = "supervisor.ops.sampling:sample_tree"
SAMPLE_DEADLINE_SECONDS = 10.0


class Questions:
    """`handlers`: what takes each kind and how to answer it, now or later. `instance` names this life of the plugin.

    `services` gives the children that are no endpoint's.
    """

    def __init__(  # noqa: PLR0917  all that there is to ask of
        self,
        process_manager: ProcessManager,
        loop: Loop,
        engine: Engine,
        store: Store,
        networks: Networks,
        endpoints: Registry,
        services: Callable[[], tuple[Child, ...]],
    ) -> None:
        self._process_manager = process_manager
        self._loop = loop
        self._engine = engine
        self._store = store
        self._networks = networks
        self._endpoints = endpoints
        self._services = services
        self.instance = uuid.uuid4().hex
        self._started = time.monotonic()
        self.handlers: dict[type[Question], Callable[..., None]] = {
            GetHealth: self._health,
            ListEndpoints: self._list_endpoints,
            ListWorkers: self._list_workers,
        }

    def _health(self, _: GetHealth, respond: Respond) -> None:
        found = problems(self._endpoints)
        if self._store.problem is not None:
            found = (self._store.problem, *found)
        uptime = time.monotonic() - self._started
        counts = len(self._networks), len(self._endpoints)
        respond(Health(not found, found, self.instance, uptime, *counts, self._engine.connected))

    def _list_endpoints(self, _: ListEndpoints, respond: Respond) -> None:
        endpoints = sorted(self._endpoints, key=lambda e: e.spec.endpoint_id)
        respond(EndpointList(tuple(view_endpoint(e, self._engine) for e in endpoints)))

    def _list_workers(self, _: ListWorkers, respond: Respond) -> None:
        def sampled(samples: object | None) -> None:
            children = (*self._services(), *(e.worker.child for e in self._endpoints))
            found = samples if isinstance(samples, tuple) else ()
            respond(WorkerList(view_workers(found, children, tuple(self._endpoints))))

        ask(
            self._process_manager,
            self._loop,
            "nd-sampler",
            SAMPLER,
            os.getpid(),
            deadline=SAMPLE_DEADLINE_SECONDS,
            answer=sampled,
        )
