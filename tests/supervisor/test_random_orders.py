"""The supervisor on a played host, in random orders: requests, reports, deaths, ends of the engine, full disks.

What must always hold: no identity twice, and none that was another container's; no lease at the server without an owner
or a release; no request without an answer in 30 s; and when all is over, nothing is left.
"""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as HypothesisPhase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from supervisor.domain.phases import Phase
from supervisor.endpoint.endpoint import JOIN_SECONDS
from supervisor.engine.identity import ALWAYS
from tests.supervisor.world.dockerd import Container
from tests.supervisor.world.host import Host
from tests.supervisor.world.plugin import Plugin

EXAMPLES = int(os.environ.get("EXAMPLES", "0"))  # of `make test-orders`
ANSWER_SECONDS = 30.0
MOST_CONTAINERS = 4
VERSIONS = (26, 29)
MOST_STEPS = 10_000
REST_SECONDS = 600.0  # in which all that was left is released and removed
MOST_TIMERS = 10

INDEX = st.integers(0, 7)
STEPS = st.lists(INDEX, min_size=1, max_size=8)
SEED = st.integers(0, 999)  # of the order in which things happen while the supervisor waits
SECONDS = st.sampled_from((0.2, 1.5, 4.0, 11.0, 40.0, JOIN_SECONDS + 10, 4000.0))


class RandomOrders(RuleBasedStateMachine):
    """What may happen to one host."""

    def __init__(self) -> None:
        super().__init__()
        self._patches = pytest.MonkeyPatch()
        self._directory = tempfile.TemporaryDirectory()
        self._order: random.Random | None = None  # by itself nothing is slow
        self._has_forgotten = False
        self._macs: dict[str, str] = {}  # whose each is

    @initialize(version=st.sampled_from(VERSIONS))
    def begin(self, version: int) -> None:
        """A network, and an engine whose API answers."""
        self._host = Host()
        self._plugin = Plugin(self._host, Path(self._directory.name), version, self._between, self._patches)
        self._dockerd = self._plugin.dockerd
        self._plugin.start()
        self._dockerd.boot(live_restore=False)
        self.settle()
        self._dockerd.create_network()
        self.settle()
        assert self._dockerd.api
        for policy in ("unless-stopped", ALWAYS):
            self._dockerd.start_container(self._dockerd.create(policy, None))

    def teardown(self) -> None:
        """All faults end, all containers go; nothing may be left then."""
        try:
            if hasattr(self, "_host"):
                self._end()
        finally:
            if hasattr(self, "_host") and self._plugin.supervisor is not None:
                self._plugin.die()
            self._patches.undo()
            self._directory.cleanup()

    # How the host goes on.

    def _pending(self) -> Sequence[Callable[[], None]]:
        """What could happen next of itself."""
        dockerd, plugin = self._dockerd, self._plugin
        found = [partial(dockerd.step, thread) for thread in dockerd.threads if thread.ready()]
        if plugin.supervisor is not None:
            alive = plugin.processes.alive.values()
            found += [partial(plugin.processes.step, one) for one in alive if one.can_go_on]
        return found

    def _shuffle(self, order: int) -> None:
        """From now on things happen in this order while the supervisor waits."""
        self._order = random.Random(order)  # noqa: S311  no secret

    def _between(self) -> None:
        """The supervisor waits in the middle of its start or its end: something happens, or time passes."""
        pending = self._pending()
        number = self._order.randrange(len(pending) + 1) if self._order else 0
        if number < len(pending):
            pending[number]()
        else:
            at = self._plugin.next_at
            assert at is not None, "it waits for nothing"
            self._pass_to(at)

    def _pass_to(self, end: float) -> None:
        """Each timer fires at its time. Of the others only those that were killed do anything: they end."""
        plugin, clock = self._plugin, self._host.clock
        while True:
            if plugin.supervisor is not None:
                plugin.processes.reap()
            if plugin.fire():
                continue
            assert plugin.longest_wait <= ANSWER_SECONDS, "a request has no answer"
            if clock.now >= end:
                return
            at = plugin.next_at
            clock.now = min(end, at) if at is not None else end
            plugin.give_up_dialling()

    @rule(steps=STEPS)
    def go_on(self, steps: list[int]) -> None:
        """Some of what could happen, in any order."""
        for number in steps:
            if pending := self._pending():
                pending[number % len(pending)]()

    @rule()
    def settle(self) -> None:
        """All that can happen without time."""
        for _ in range(MOST_STEPS):
            if not (pending := self._pending()):
                return
            pending[0]()
        raise AssertionError("it does not settle")

    @rule(seconds=SECONDS)
    def pass_time(self, seconds: float) -> None:
        """Only the supervisor does anything meanwhile, as on a host that has stalled."""
        self._pass_to(self._host.clock.now + seconds)

    @rule(seconds=SECONDS)
    def live_on(self, seconds: float) -> None:
        """Time passes in which everybody does what he can."""
        end = self._host.clock.now + seconds
        self.settle()
        while (at := self._plugin.next_at) is not None and at <= end:
            self._pass_to(max(at, self._host.clock.now))
            self.settle()
        self._pass_to(end)
        self.settle()

    # Users, and fate.

    def _some(self, number: int, fits: Callable[[Container], bool]) -> Container | None:
        fitting = [one for one in self._dockerd.containers.values() if not one.busy and fits(one)]
        return fitting[number % len(fitting)] if self._dockerd.api and fitting else None

    @rule(policy=st.sampled_from(("no", "unless-stopped", ALWAYS)), chosen_id=st.sampled_from((None, None, "db")))
    def run(self, policy: str, chosen_id: str | None) -> None:
        """docker run"""
        if self._dockerd.api and len(self._dockerd.containers) < MOST_CONTAINERS:
            self._dockerd.start_container(self._dockerd.create(policy, chosen_id))

    @rule(numbers=st.lists(INDEX, min_size=1, max_size=3))
    def start(self, numbers: list[int]) -> None:
        """docker start"""
        for number in numbers:
            if one := self._some(number, lambda one: not one.running and not one.lives):
                self._dockerd.start_container(one)

    @rule(number=INDEX, by_user=st.booleans())
    def stop(self, number: int, by_user: bool) -> None:
        """docker stop, or the container ends by itself."""
        if one := self._some(number, lambda one: one.running):
            self._dockerd.stop_container(one, by_user=by_user)

    @rule(number=INDEX)
    def remove(self, number: int) -> None:
        """docker rm"""
        if one := self._some(number, lambda one: not one.running and not one.lives):
            self._dockerd.remove(one)

    @rule(number=INDEX, chosen_id=st.sampled_from((None, "db")))
    def move(self, number: int, chosen_id: str | None) -> None:
        """docker network disconnect, or connect."""
        if one := self._some(number, lambda one: one.running):
            if one.endpoint is None:
                self._dockerd.connect(one, chosen_id)
            else:
                self._dockerd.disconnect(one)

    @rule(live_restore=st.booleans(), order=SEED)
    def end_engine(self, live_restore: bool, order: int) -> None:
        """SIGKILL; or it begins anew, and without live-restore it starts the plugin anew, too."""
        self._shuffle(order)
        if self._dockerd.is_up:
            self._dockerd.kill()
            return
        if not live_restore and self._plugin.is_ready:
            self._plugin.stop()
        self._dockerd.boot(live_restore=live_restore)
        if self._plugin.supervisor is None:
            self._plugin.start()

    @rule(how=st.sampled_from(("SIGKILL", "SIGTERM", 1, 2, 3)), order=SEED)
    def end_plugin(self, how: str | int, order: int) -> None:
        """By a signal, or right behind one of its next commits; or it begins anew."""
        self._shuffle(order)
        if self._plugin.supervisor is None:
            self._plugin.start()
        elif how == "SIGKILL":
            self._plugin.die()
        elif how == "SIGTERM":
            self._plugin.stop()
        else:
            self._plugin.disk.dies_after = int(how)

    @rule(number=INDEX)
    def kill_process(self, number: int) -> None:
        """A worker, a job, or the watcher."""
        alive = list(self._plugin.processes.alive.values()) if self._plugin.is_ready else []
        if alive:
            alive[number % len(alive)].status = -9

    @rule(what=st.sampled_from(("server", "disk")))
    def fail(self, what: str) -> None:
        """The DHCP server stops answering, or the disk has no room; or that is over again."""
        if what == "server":
            self._host.server.answers = not self._host.server.answers
        else:
            self._plugin.disk.full = not self._plugin.disk.full

    # What seldom comes by chance: two things at the same time.

    @rule(number=INDEX, steps=STEPS, order=SEED)
    def try_again(self, number: int, steps: list[int], order: int) -> None:
        """The plugin dies during a start and begins anew, and users start all that is stopped."""
        if not self._plugin.is_ready:
            return
        self.start([number])
        self.go_on(steps)
        self._shuffle(order)
        if self._plugin.is_ready:
            self._plugin.die()
        self._plugin.start()
        self.start([number, 0, 0, 0])

    @rule(number=INDEX, chosen_id=st.sampled_from((None, "db")), steps=STEPS, seconds=st.sampled_from((0.0, 1.5)))
    def connect_meanwhile(self, number: int, chosen_id: str | None, steps: list[int], seconds: float) -> None:
        """A container that runs is connected while another one is starting."""
        if (running := self._some(number, lambda one: one.running)) and running.endpoint:
            self._dockerd.disconnect(running)
            self.settle()
        self.run("no", chosen_id)
        self.start([number])
        self.go_on(steps)
        self.pass_time(seconds)
        if one := self._some(number, lambda one: one.running and one.endpoint is None):
            self._dockerd.connect(one, chosen_id)

    # What must hold.

    @invariant()
    def holds(self) -> None:
        """All of it, at any time."""
        self.owns()
        self.is_unique()
        self.is_itself()
        self.is_joined()

    def owns(self) -> None:
        """No lease at the server without an owner or a release."""
        server, supervisor = self._host.server, self._plugin.supervisor
        if self._plugin.forgets:
            self._plugin.forgets, self._has_forgotten = False, True
            server.lost.update(server.active())
        if supervisor is None or not self._plugin.is_ready:
            return
        busy = (Phase.CREATING, Phase.LEAVING, Phase.DELETING)
        owners = {
            one.spec.client_identity.client_id
            for one in supervisor._endpoints
            if one.phase in busy or any(record.held for record in one.leases.values())
        }
        owners |= {one.client_identity.client_id for one in supervisor._bindings if one.leases}
        working = (one.spec for one in self._plugin.processes.alive.values() if one.spec is not None)
        owners |= {spec.client_identity.client_id for spec in working}
        orphaned = server.active().keys() - owners - server.lost
        assert not orphaned, f"no endpoint, binding or process owns the leases of {[one.hex(':') for one in orphaned]}"

    def is_unique(self) -> None:
        """No identity twice."""
        if self._plugin.supervisor is None:
            return
        alive = [one for one in self._plugin.supervisor._endpoints if not one.is_ending]
        macs = [one.spec.mac for one in alive]
        assert len(macs) == len(set(macs)), macs
        keys = [one.origin.key for one in alive if one.origin.key is not None]
        assert len(keys) == len(set(keys)), keys

    def is_itself(self) -> None:
        """No container is taken for another one, and none has a MAC address that was another's."""
        for one in self._dockerd.containers.values():
            if one.mac is None or one.busy:
                continue
            owner = one.connected_as or one.id
            assert self._macs.setdefault(one.mac, owner) == owner, f"{one.name} has another's {one.mac}"

    def is_joined(self) -> None:
        """A start that was answered goes on, however many others begin meanwhile."""
        refused, self._dockerd.refused_joins = self._dockerd.refused_joins, []
        for one in refused:
            excused = one.after > JOIN_SECONDS or one.container.lives or self._has_forgotten
            assert excused, f"{one.container.name} was not joined: {one.error}"

    def _end(self) -> None:
        self._order = None
        self._plugin.disk.full, self._plugin.disk.dies_after, self._host.server.answers = False, None, True
        if not self._dockerd.is_up:
            self._dockerd.boot(live_restore=False)
        if self._plugin.supervisor is None:
            self._plugin.start()
        self.live_on(60)
        for one in tuple(self._dockerd.containers.values()):
            if one.running:
                self._dockerd.stop_container(one, by_user=True)
        self.live_on(30)
        for one in tuple(self._dockerd.containers.values()):
            assert one.rests, one
            self._dockerd.remove(one)
        self.live_on(REST_SECONDS)
        self._nothing_is_left()
        self._plugin.stop()
        self._plugin.start()
        assert not self._host.links

    def _nothing_is_left(self) -> None:
        self.owns()
        supervisor, server = self._plugin.supervisor, self._host.server
        assert supervisor is not None
        assert not server.active().keys() - server.lost
        assert self._has_forgotten or not self._host.links
        assert not len(supervisor._endpoints)
        assert not supervisor._endpoints._ending
        assert not [one for one in supervisor._bindings if one.leases]
        assert not supervisor._held_back
        assert not supervisor._healing._waiting
        assert not supervisor._healing._ended
        assert supervisor._store.problem is None
        assert [one.name for one in self._plugin.processes.children] == ["nd-watcher"]
        assert self._plugin.loop.timers <= MOST_TIMERS
        rows = supervisor._store.history(lambda database: database.execute("SELECT count(*) FROM endpoint").fetchone())
        assert rows == (0,)


ORDERS = settings(
    max_examples=EXAMPLES or 50,
    database=None,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

if EXAMPLES:
    TestRandomOrders = RandomOrders.TestCase
    TestRandomOrders.settings = ORDERS


def try_same() -> None:
    """The same orders in each run. A failure is not made smaller, which takes minutes: `make test-orders` does that."""
    same = settings(ORDERS, derandomize=True, phases=[HypothesisPhase.generate])
    run_state_machine_as_test(RandomOrders, settings=same)


def test_same_orders_each_time() -> None:
    """In a process of its own, as hypothesis makes its examples of the constants in the modules that are loaded."""
    program = f"import {__name__} as orders; orders.try_same()"
    alone = {**os.environ, "PYTHONHASHSEED": "0"}
    tried = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=alone, check=False)
    assert tried.returncode == 0, tried.stderr
