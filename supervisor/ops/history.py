"""Answers what happened, and who held which address: the history on disk, page by page, and events as they come.

Each answer reads a bounded number of rows. Must not write.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from supervisor.contract import messages as m
from supervisor.contract.errors import InvalidRequest, RequestError, Unavailable
from supervisor.driver.networks import Networks
from supervisor.engine.facts import Engine
from supervisor.ops.views import networks_called
from supervisor.runtime.loop import Loop, Timer
from supervisor.state import holdings, tables
from supervisor.state.store import Store

R = TypeVar("R", m.EventView, m.LeaseView)

GATHER_SECONDS = 0.1  # events that come together go into one answer


@dataclass(frozen=True, slots=True, eq=False)
class _Follower:
    """A request that waits for the next event after `after`."""

    after: int
    limit: int
    respond: m.Respond
    timer: Timer


class History:
    """`handlers` has a function for each kind of question. It answers now or later, or raises RequestError."""

    def __init__(self, loop: Loop, engine: Engine, store: Store, networks: Networks) -> None:
        self._loop = loop
        self._engine = engine
        self._store = store
        self._networks = networks
        self._followers: list[_Follower] = []
        self._is_gathering = False
        store.committed = self._gather
        self.handlers: dict[type, Callable[..., None]] = {
            m.ListEvents: self._list_events,
            m.ListLeases: self._list_leases,
        }

    def stop(self) -> None:
        """Answers all requests that wait for an event."""
        followers, self._followers = self._followers, []
        for follower in followers:
            follower.timer.cancel()
            follower.respond(Unavailable("the plugin is stopping"))

    def _list_leases(self, asked: m.ListLeases, respond: m.Respond) -> None:
        name = asked.network  # of a network that is gone, only the whole id is known
        networks = None if name is None else networks_called(name, self._networks, self._engine) or frozenset((name,))
        page = self._store.history(partial(holdings.read, asked=asked, networks=networks))
        respond(replace(page, rows=tuple(map(self._named, page.rows))))

    def _list_events(self, asked: m.ListEvents, respond: m.Respond) -> None:
        newest = max((event.id for event in self._read(None, 1)), default=0)
        after = newest if asked.after is None else asked.after
        if after > newest:
            raise InvalidRequest(f"since must be at most {newest}, the newest event's id: the history has begun anew")
        if after == newest and asked.wait:
            self._follow(after, asked.limit, respond)
        else:
            respond(self._events(after, asked.limit))

    def _events(self, after: int, limit: int) -> m.Page[m.EventView]:
        limit = min(limit, m.PAGE_ROWS)
        rows = tuple(map(self._named, self._read(after, limit)))
        return m.Page(rows, rows[-1].id if rows else after, complete=len(rows) < limit)

    def _read(self, after: int | None, limit: int) -> tuple[m.EventView, ...]:
        return self._store.history(partial(tables.read_events, after=after, limit=limit))

    def _named(self, row: R) -> R:
        """The row with the name that its network has today."""
        return replace(row, network=self._engine.network_name(row.network_id))

    def _follow(self, after: int, limit: int, respond: m.Respond) -> None:
        def give_up() -> None:
            self._followers.remove(follower)
            respond(m.Page((), after, complete=True))

        follower = _Follower(after, limit, respond, self._loop.call_later(m.EVENT_WAIT_SECONDS, give_up))
        self._followers.append(follower)

    def _gather(self) -> None:
        """The state on disk has changed: there may be events."""
        if self._followers and not self._is_gathering:
            self._is_gathering = True
            self._loop.call_later(GATHER_SECONDS, self._tell_followers)

    def _tell_followers(self) -> None:
        self._is_gathering = False
        for follower in tuple(self._followers):
            answer: m.Page[m.EventView] | RequestError
            try:
                answer = self._events(follower.after, follower.limit)
            except RequestError as error:
                answer = error
            if isinstance(answer, RequestError) or answer.rows:
                self._followers.remove(follower)
                follower.timer.cancel()
                follower.respond(answer)
