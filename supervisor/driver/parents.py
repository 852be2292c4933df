"""Watches the interfaces on the host that endpoints' links depend on: bridges, cards and VLANs.

A bridge that is made anew has lost its ports: ours are plugged in again. A card that goes takes its links along, which
the workers report; once it is back, they make the links again. Where the way to the LAN opens again, leases that wait
for an answer are asked for at once. Must not wait for the kernel: a parent's state costs some microseconds, and a job
does the rest.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from supervisor.domain.phases import Phase
from supervisor.driver.registry import Registry
from supervisor.endpoint.endpoint import Endpoint
from supervisor.runtime.jobs import Jobs
from supervisor.runtime.loop import Loop
from supervisor.state.store import Store
from workers.contract.link import LinkKind
from workers.contract.messages import EndpointSpec
from workers.link.parent_watch import ParentState, ParentWatch
from workers.link.ports import Plugged, plug_in

GATHER_SECONDS = 0.1  # a bridge that is made anew changes a dozen times
PLUG_DEADLINE_SECONDS = 10.0
SPREAD_SECONDS = 0.01  # between two containers that ask a server at once
MOST_NAMES = 10  # in one line

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Parent:
    """What was last seen of it. `open` are those of its `uplinks` that have a carrier.

    `examined`: a job has looked at its ports, or there is nothing to look at. `asked`: such a job runs.
    """

    state: ParentState | None
    uplinks: frozenset[str] = frozenset()
    open: frozenset[str] = frozenset()
    examined: bool = False
    asked: bool = False


class Parents:
    """All that endpoints are on."""

    def __init__(
        self, jobs: Jobs, loop: Loop, endpoints: Registry, store: Store, on_open: Callable[[str], None]
    ) -> None:
        """`on_open` is called with the name of a parent that has got a carrier."""
        self._jobs = jobs
        self._on_open = on_open
        self._loop = loop
        self._endpoints = endpoints
        self._store = store
        self._watch = ParentWatch()
        self._parents: dict[str, _Parent] = {}
        self._listening: tuple[frozenset[int], bool] | None = None
        self._lost: set[str] = set()
        self._joined: set[int] = set()
        self._is_gathering = False
        endpoints.watchers.append(self._on_endpoint)

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each parent over which nothing passes."""
        seen = self._parents.items()
        return tuple(text for name, one in seen if (text := _problem(name, one.state) or _uplink_problem(name, one)))

    def start(self) -> None:
        """Call it once the endpoints of the last instance are known: their bridges may have been made anew since."""
        self._loop.watch(self._watch, self._on_change)
        self.look()

    def look(self) -> None:
        """Looks at every parent that has an endpoint. Call it often: it also finds what was missed."""
        users = defaultdict[str, list[Endpoint]](list)
        for endpoint in self._endpoints:
            if endpoint.phase not in (Phase.ABSENT, Phase.LEAVING, Phase.LEFT, Phase.DELETING):
                users[endpoint.spec.link.parent].append(endpoint)
        self._parents = {name: self._parents.get(name) or self._first_look(name) for name in users}
        for name, parent in self._parents.items():
            self._look_at(name, parent, users[name])
        self._lost.clear()
        self._joined.clear()
        self._listen()
        self._make_links(endpoint for endpoints in users.values() for endpoint in endpoints)

    def _make_links(self, endpoints: Iterable[Endpoint]) -> None:
        """Those that have gone with an interface that is back; one that could not be made is tried again."""
        lost = [(endpoint, endpoint.awaited) for endpoint in endpoints if endpoint.link_lost]
        back = {name for name in {name for _, name in lost if name is not None} if self._runs(name)}
        for number, endpoint in enumerate(endpoint for endpoint, name in lost if name in back):
            self._loop.call_later(number * SPREAD_SECONDS, endpoint.make_link)

    def _first_look(self, name: str) -> _Parent:
        parent = _Parent(self._watch.state(name))
        if problem := _problem(name, parent.state):
            log.warning("%s", problem, extra={"interface": name})
        return parent

    def _on_change(self) -> None:
        heard, known = self._watch.read(), self._listening[0] if self._listening else frozenset[int]()
        self._lost |= heard.lost
        self._joined |= heard.joined & known
        for parent in self._parents.values() if heard.missed else ():
            parent.examined = False
        if heard.changed or heard.missed or self._lost or self._joined:
            self._look_soon()

    def _on_endpoint(self, spec: EndpointSpec) -> None:
        """The first endpoint on a parent makes it one that counts; a link that is lost may come back at once."""
        endpoint = self._endpoints.get(spec.endpoint_id)
        if spec.link.parent not in self._parents or (endpoint is not None and endpoint.link_lost):
            self._look_soon()

    def _look_soon(self) -> None:
        if not self._is_gathering:
            self._is_gathering = True
            self._loop.call_later(GATHER_SECONDS, self._gathered)

    def _gathered(self) -> None:
        self._is_gathering = False
        self.look()

    def _listen(self) -> None:
        """Listens for the links that count now. What they did before that is looked at once more."""
        known = [parent.state for parent in self._parents.values()]
        names = {name for parent in self._parents.values() for name in parent.uplinks}
        states = [*known, *(self._watch.state(name) for name in names)]
        listening = frozenset(state.index for state in states if state), None in known
        if listening != self._listening:
            self._listening = listening
            self._watch.listen(listening[0], newcomers=listening[1])
            self._loop.call_later(0, self.look)

    def _look_at(self, name: str, parent: _Parent, users: list[Endpoint]) -> None:
        before, parent.state = parent.state, self._watch.state(name)
        now, are_open = parent.state, frozenset(n for n in parent.uplinks if self._runs(n))
        opened, closed, parent.open = are_open - parent.open, parent.open - are_open, are_open
        for uplink in closed:
            log.info("its port %s has no carrier", uplink, extra={"interface": name})
        self._tell(name, before, now, users)
        bridged = [endpoint for endpoint in users if endpoint.spec.link.kind is LinkKind.BRIDGE]
        if now is None or self._has_lost_ports(before, now, bridged):
            parent.examined = False
        if now is not None and bridged and not parent.examined:
            self._examine(name, parent, bridged)
        if now is not None and before is not None and now.index == before.index and now.mtu < before.mtu:
            for endpoint in bridged:
                endpoint.limit_mtu(now.mtu)
        if opened or (now is not None and now.running and before is not None and not before.running):
            self._ask_servers(users)

    def _tell(self, name: str, before: ParentState | None, now: ParentState | None, users: list[Endpoint]) -> None:
        """Logs what has happened to it; whoever waits for its carrier learns that it has one."""
        if before != now:
            log.warning("%s", _change(before, now, users), extra={"interface": name})
        if _is_open_again(before, now):
            self._on_open(name)

    def _has_lost_ports(self, before: ParentState | None, now: ParentState, bridged: list[Endpoint]) -> bool:
        """Whether the parent may be a bridge without some of our ports, or has got a port of others."""
        if before is None or now.index != before.index or now.index in self._joined:
            return True
        return bool(self._lost) and any(_port(endpoint) in self._lost for endpoint in bridged)

    def _runs(self, name: str) -> bool:
        state = self._watch.state(name)
        return state is not None and state.running

    def _examine(self, name: str, parent: _Parent, users: list[Endpoint]) -> None:
        """Has a job look at the bridge's ports; one at a time."""
        if parent.asked:
            return
        parent.asked = parent.examined = True
        vlans = {_port(endpoint): endpoint.spec.link.vlan for endpoint in users}

        def plugged(report: object | None) -> None:
            parent.asked = False
            if isinstance(report, Plugged):
                self._on_plugged(parent, report)
            else:
                parent.examined = False  # the next look tries again

        self._jobs.ask("nd-ports", plug_in, name, vlans, deadline=PLUG_DEADLINE_SECONDS, answer=plugged)

    def _on_plugged(self, parent: _Parent, report: Plugged) -> None:
        plugged = {port: endpoint for endpoint in self._endpoints if (port := _port(endpoint)) in report.ports}
        with self._store.together():
            for port, endpoint in plugged.items():
                endpoint.plugged_in(report.ports[port])
        self._ask_servers(plugged.values())
        parent.uplinks = report.uplinks
        self.look()

    def _ask_servers(self, endpoints: Iterable[Endpoint]) -> None:
        """One after the other: a thousand workers that wake at once would take minutes of others' time."""
        for number, endpoint in enumerate(endpoints):
            self._loop.call_later(number * SPREAD_SECONDS, partial(endpoint.ask_servers))


def _port(endpoint: Endpoint) -> str:
    """The name that its port on a bridge has."""
    return endpoint.spec.link.host_end(endpoint.spec.endpoint_id) or ""


def _change(before: ParentState | None, now: ParentState | None, users: list[Endpoint]) -> str:
    """What has happened to a parent."""
    names = [endpoint.name for endpoint in users]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    what = f"; containers on it: {', '.join(names[:MOST_NAMES])}{more}"
    if now is None:
        return f"the interface has gone{what}"
    if before is None:
        return f"the interface is there{what}"
    if now.index != before.index:
        return f"the interface was made anew{what}"
    if not now.up:
        return f"the interface was set down{what}"
    if (now.up, now.running) == (before.up, before.running):
        return f"the interface's MTU changed from {before.mtu} to {now.mtu}"
    return "the interface is up and has a carrier" if now.running else f"the interface has no carrier{what}"


def _is_open_again(before: ParentState | None, now: ParentState | None) -> bool:
    """Whether it has got a carrier, perhaps as another one of that name."""
    was_open = before is not None and now is not None and before.running and before.index == now.index
    return now is not None and now.running and not was_open


def _uplink_problem(name: str, parent: _Parent) -> str | None:
    """A bridge has a carrier as long as one container is plugged in."""
    if parent.open or not parent.uplinks:
        return None
    uplinks = ", ".join(sorted(parent.uplinks))
    return f"no uplink of {name} has a carrier ({uplinks}), and containers are on it: look at its cable"


def _problem(name: str, state: ParentState | None) -> str | None:
    if state is None:
        return f"{name} has gone, and containers are on it"
    if not state.up:
        return f"{name} is down, and containers are on it: raise it with `ip link set {name} up`"
    return None if state.running else f"{name} has no carrier, and containers are on it: look at its cable"
