"""The start of an instance: what the last one left, on disk and in the kernel, before the first request is answered."""

import logging
import time
from collections.abc import Callable

from supervisor.driver.orphans import Orphans
from supervisor.driver.registry import Registry
from supervisor.runtime.loop import Loop

RECOVERY_SECONDS = 2.0

log = logging.getLogger(__name__)


class Recovery:
    """Disk and kernel are reconciled; what takes long does not hold the first request up.

    The engine is looked for as well: without its pid nobody can tell whose the first request at a boot is.
    """

    def __init__(self, loop: Loop, registry: Registry, orphans: Orphans, engine_sought: Callable[[], bool]) -> None:
        self._loop = loop
        self._registry = registry
        self._orphans = orphans
        self._engine_sought = engine_sought
        self._began = time.monotonic()
        self._swept = False

    def sweep(self, *, state_known: bool) -> None:
        """Links that no endpoint has go. Where the state cannot be read nobody knows which they are."""
        if state_known:
            self._orphans.sweep(frozenset(endpoint.spec.container_link for endpoint in self._registry), self._on_swept)
        else:
            self._on_swept()

    def wait(self) -> None:
        """Runs the loop until all is found again, or the time is up: the rest goes on being looked for."""
        found = len(self._registry)
        deadline = self._began + RECOVERY_SECONDS
        self._loop.call_later(max(0.0, deadline - time.monotonic()), lambda: None)  # wakes the loop
        while self._pending() and time.monotonic() < deadline:
            self._loop.step()
        if found:
            seconds = time.monotonic() - self._began
            lost = sum(endpoint.recovering for endpoint in self._registry)
            log.info("%d endpoints found again in %.2f s, %d are still looked for", found, seconds, lost)

    def _pending(self) -> bool:
        return not (self._engine_sought() and self._swept) or any(endpoint.recovering for endpoint in self._registry)

    def _on_swept(self) -> None:
        self._swept = True
