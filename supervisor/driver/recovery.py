"""The start of an instance. It finds the last one's endpoints and links before it answers requests."""

import logging
import time
from collections.abc import Callable

from supervisor.driver.orphans import Orphans
from supervisor.driver.registry import Registry
from supervisor.runtime.loop import Loop

RECOVERY_SECONDS = 2.0

log = logging.getLogger(__name__)


class Recovery:
    """Reconciles disk and kernel, for RECOVERY_SECONDS at most: the first request does not wait for the rest.

    It also waits for the watcher's first report on dockerd: without dockerd's pid the supervisor cannot tell for which
    container the first request at a boot is.
    """

    def __init__(self, loop: Loop, registry: Registry, orphans: Orphans, watcher_spoke: Callable[[], bool]) -> None:
        self._loop = loop
        self._registry = registry
        self._orphans = orphans
        self._watcher_spoke = watcher_spoke
        self._began = time.monotonic()
        self._swept = False

    def sweep(self, parents: frozenset[str] | None, *, state_known: bool) -> None:
        """Removes links that no endpoint has, and VLANs that are no network's parent; with None it spares all VLANs.

        If the state could not be read, it cannot tell which these are.
        """
        if state_known:
            ends = frozenset(endpoint.spec.container_link for endpoint in self._registry)
            self._orphans.sweep(ends, parents, self._on_swept)
        else:
            self._on_swept()

    def wait(self) -> None:
        """Runs the loop until every endpoint is found again, or the time is up; the search for the rest goes on."""
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
        return not (self._watcher_spoke() and self._swept) or any(endpoint.recovering for endpoint in self._registry)

    def _on_swept(self) -> None:
        self._swept = True
