"""The history of leases: what happened, from a moment on, and what happens from now on."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli.client import Client
from cli.errors import Refused, TooOld, Unreachable
from cli.words import time_of

Event = dict[str, Any]
AGAIN_SECONDS = 1.0  # to a plugin that has just ended


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events; None is any."""

    container: str | None = None
    network: str | None = None
    endpoint_id: str | None = None
    kind: str | None = None
    since: datetime | None = None

    @property
    def asked(self) -> dict[str, str | None]:
        """What the plugin chooses by."""
        return {"container": self.container, "endpoint": self.endpoint_id}

    def has(self, event: Event) -> bool:
        """Whether it is one of those that the plugin has sent."""
        of_network = self.network in (None, event["network"], event["network_id"])
        return of_network and self.kind in (None, event["kind"]) and self._is_late(event)

    def _is_late(self, event: Event) -> bool:
        at = time_of(event["time"])
        return self.since is None or (at is not None and at >= self.since)


def past(client: Client, wanted: Wanted, last: int | None = None) -> list[Event]:
    """Those that the plugin keeps, the oldest first; of them the `last` ones. It is read to its end as it comes."""
    return list(deque((event for event in _kept(client, wanted) if wanted.has(event)), last))


def follow(client: Client, wanted: Wanted, tell: Callable[[str], None], after: int | None = None) -> Iterator[Event]:
    """Those that come after the event `after`, for ever; None stands for the newest.

    A plugin that starts again is waited for. What happened meanwhile comes then, if an event has been seen before.
    """
    is_away = False
    while True:
        try:
            for event in _coming(client, wanted, after):
                is_away, after = False, event["id"]
                if wanted.has(event):
                    yield event
        except TooOld:
            raise
        except Refused:
            after = None  # the history has begun anew
        except Unreachable as error:
            if not is_away:
                tell(f"{error.message}; waiting for it")
            is_away = True
        time.sleep(AGAIN_SECONDS)


def _coming(client: Client, wanted: Wanted, after: int | None) -> Iterator[Event]:
    """One stream, up to the plugin's last words."""
    for event in client.lines("/v1/events", follow="true", since=after, **wanted.asked):
        if "Err" in event:
            return
        yield event


def _kept(client: Client, wanted: Wanted) -> Iterator[Event]:
    for event in client.lines("/v1/events", **wanted.asked):
        if "Err" in event:
            raise Unreachable(str(event["Err"]))
        yield event
