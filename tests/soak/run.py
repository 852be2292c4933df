"""One run: containers, hands that use them, faults and a prober, all at the same time; then the end and the verdict."""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from threading import Event

from tests.lab.command import CommandFailed, NotReached, wait_until
from tests.lab.engine import EngineFailed
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import belongings, create_network
from tests.plugin.fleet import Seen
from tests.soak import plan
from tests.soak.diary import Diary
from tests.soak.end import left_behind, unsettled
from tests.soak.inject import FAULTS, LIVE_RESTORE, Injector
from tests.soak.members import AGAIN_TIMEOUT, NETWORK, OPERATIONS, Member
from tests.soak.prober import Prober
from tests.soak.records import Fault, Injected, Op, Operation, Span
from tests.soak.verdict import Explained, explained, gaps_of

AGAIN_PAUSE = 2.0  # seconds, as a user who tries again
FAILURES = (CommandFailed, NotReached, EngineFailed, OSError, HTTPException, KeyError, subprocess.TimeoutExpired)


@dataclass(frozen=True, slots=True)
class Settings:
    """How long, how many, and which plan."""

    seconds: float
    members: int
    seed: int
    longest_outage: float = 100.0
    lease_time: int = 120
    disturbs_lan: bool = True


class Soak:
    """In a laboratory that has the plugin; `diary` is filled by `run`."""

    def __init__(self, lab: Lab, plugin: Plugin, settings: Settings) -> None:
        self.diary = Diary()
        self._lab = lab
        self._plugin = plugin
        self._settings = settings
        self._injector = Injector(lab, plugin, settings.longest_outage, settings.lease_time)
        self._members = [Member(number, plugin.docker, self.diary) for number in range(settings.members)]
        self._over = Event()

    def run(self) -> list[Explained]:
        """The gaps, each with its reason."""
        self._lab.engine.reload(LIVE_RESTORE)
        self._lab.network.serve_ipv6()
        self._lab.dhcp.restart(self._injector.options)
        self._plugin.get("/v1/workers")  # what is loaded late is no leak
        before, seen = belongings(self._lab, self._plugin), Seen.by(self._lab.dhcp)
        create_network(self._plugin, NETWORK, "--opt=ipv6=true")
        with Prober(self._lab, self.diary):
            for member in self._members:
                self._operate(Op.RUN, member, 0)
            self._disturb()
            self._bring_back()
            at_the_end = unsettled(self._members, self._lab.dhcp)
        for member in self._members:
            member.remove()
        self._plugin.docker("network", "rm", NETWORK)
        at_the_end += left_behind(before, self._lab, self._plugin)
        messages = self._lab.dhcp.messages()[seen.ipv4 :], self._lab.dhcp.messages6()[seen.ipv6 :]
        gaps = gaps_of(self.diary, *messages, self._injector.options.lease_time)
        return explained([*gaps, *at_the_end], self.diary)

    def _disturb(self) -> None:
        seed = self._settings.seed
        with ThreadPoolExecutor() as threads:
            tasks = [threads.submit(self._use, hand) for hand in range(plan.HANDS)]
            faults = [plan.process_faults, plan.server_faults]
            faults += [plan.lan_faults] if self._settings.disturbs_lan else []
            tasks += [threads.submit(self._inject, steps(seed)) for steps in faults]
            self._over.wait(self._settings.seconds)
            self._over.set()
            for task in tasks:
                task.result()

    def _use(self, hand: int) -> None:
        """One hand's operations; a container that could not be brought back is tried again at its next one."""
        for step in plan.churn(self._settings.seed, hand, len(self._members)):
            if self._over.wait(step.pause):
                return
            member = self._members[step.member]
            self._operate(step.what if member.name in self.diary.open else Op.AGAIN, member, step.roll)

    def _operate(self, op: Op, member: Member, roll: float) -> None:
        """And bring the container back where it failed."""
        failed = self._attempt(op, member, roll)
        deadline = time.monotonic() + AGAIN_TIMEOUT
        while failed and time.monotonic() < deadline:
            time.sleep(AGAIN_PAUSE)
            wait_until(self._plugin.docker.answers, "the engine", AGAIN_TIMEOUT, interval=0.5)
            failed = self._attempt(Op.AGAIN, member, 0)

    def _attempt(self, op: Op, member: Member, roll: float) -> bool:
        """Has it failed?"""
        began, error = time.time(), None
        try:
            OPERATIONS[op](member, roll)
        except FAILURES as failure:
            error = _said(failure)
        self.diary.operations.append(Operation(op, member.name, Span(began, time.time()), error))
        return error is not None

    def _inject(self, steps: Iterator[plan.Step[Fault]]) -> None:
        for step in steps:
            if self._over.wait(step.pause):
                return
            began, error = time.time(), None
            try:
                FAULTS[step.what](self._injector, step.roll)
            except FAILURES as failure:
                error = _said(failure)
            self.diary.faults.append(Injected(step.what, Span(began, time.time()), error))

    def _bring_back(self) -> None:
        """All faults are over: what could not be brought back before can be now."""
        for member in self._members:
            if member.name not in self.diary.open:
                self._operate(Op.AGAIN, member, 0)


def _said(failure: Exception) -> str:
    """Its text from the engine's words on, on one line; the command before them is known."""
    text = str(failure) or repr(failure)
    return " ".join(text.rpartition("Error response from daemon: ")[2].split())
