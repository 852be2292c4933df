"""One endpoint's worker, from its first lease to DeleteEndpoint.

    commands ──► ┌────────┐ ◄── netlink notifications (the link moved, an address came)
    reports  ◄── │ worker │ ◄── udhcpc's events and log
                 └────────┘
It has the link followed into the sandbox and the lease kept there, releases it at Leave and removes the link at Delete.
One thread; it waits in one place only. End of file on the channel means that the supervisor is gone: the worker ends
and releases nothing, as the container lives on. Must not know how the link and the lease came about.

One process hands it to the next (workers.entry.sleeper) when nothing happens: its state is pickled, its descriptors are
passed beside it (workers.entry.handover).
"""

import logging
from collections.abc import Callable, Iterable, Set
from multiprocessing.connection import Connection

from workers.contract.lease import Family, Lease
from workers.contract.messages import Attach, Command, Delete, Deleted, EndpointSpec, LeaveSandbox, Left, Rename, Report
from workers.dhcp4.release import ReleaseError, release
from workers.dhcp4.udhcpc import Start
from workers.endpoint.attachment import Attachment
from workers.endpoint.creation import Made
from workers.endpoint.host_release import release_from_host
from workers.endpoint.lease_manager import LeaseManager
from workers.link.kind import discard, link_of
from workers.system.alarm import Alarm
from workers.system.poll import ready

QUIET_SECONDS = 1.0  # without anything to do, before the worker goes to sleep: what follows comes sooner as a rule

log = logging.getLogger(__name__)


class Worker:
    """The endpoint as this process sees it."""

    def __init__(
        self,
        spec: EndpointSpec,
        channel: Connection,
        leases: Iterable[Lease],
        held: Set[Family],
        made: Made | None = None,
    ) -> None:
        """The leases of the families in `held` are ours to release. Without `made`, a worker that died had them."""
        self._spec = spec
        self._channel = channel
        self._link = made.link if made else link_of(spec)
        self._alarm = Alarm()
        self._managers = {lease.family: LeaseManager(spec, lease, self._report) for lease in leases}
        self._attachment = Attachment(spec, self._link, self._managers, self._report, made)
        self._unreleased = set(held)
        self._tried: set[Family] = set()
        self._left: Left | None = None
        self._done = False

    @property
    def name(self) -> str:
        """Of its process."""
        return self._spec.process_name

    @property
    def done(self) -> bool:
        """Whether the endpoint is deleted, or the supervisor gone."""
        return self._done

    def say_left(self, left: Left) -> None:
        """Reports that the sandbox was left, by all of this worker's processes."""
        self._report(left)

    def take_left(self) -> Left | None:
        """If the sandbox has been left: what is to be said as soon as it was left by whoever sleeps, too."""
        left, self._left = self._left, None
        return left

    def take_ended(self) -> list[int]:
        """The udhcpcs that have ended since the last call."""
        return [pid for manager in self._managers.values() for pid in manager.clients.take_ended()]

    def take_start(self) -> Start | None:
        """What the process is to become when all else of it has been handed over, if anything."""
        starts = (manager.clients.take_start() for manager in self._managers.values())
        return next((start for start in starts if start is not None), None)

    def serve(self) -> None:
        """Waits and reacts until nothing happens any more, or something is left to be done by whoever sleeps."""
        idle = False
        while not (idle or self._done or self._left or self._starting):
            self._alarm.set(self._next_at)
            sources = self.sources()
            found = ready(sources, self._patience)
            for number in found:
                if number in self.sources():  # an earlier one of this round may have closed it
                    sources[number]()
            idle = not found
        if not self._done:
            self._alarm.set(self._next_at)

    @property
    def _starting(self) -> bool:
        return any(manager.clients.starting for manager in self._managers.values())

    @property
    def _next_at(self) -> float | None:
        return min((m.next_at for m in self._managers.values() if m.next_at is not None), default=None)

    @property
    def _patience(self) -> float | None:
        """A link that is on its way is not slept over: the host's links change often when containers start."""
        return None if self._attachment.awaits_link else QUIET_SECONDS

    def sources(self) -> dict[int, Callable[[], None]]:
        """The descriptors that are waited on, with what to call when one is readable."""
        own: dict[int, Callable[[], None]] = {
            self._channel.fileno(): self._on_command,
            self._alarm.fileno(): self._due,
        }
        for manager in self._managers.values():
            own |= manager.sources()
        return own | self._attachment.sources()

    def _due(self) -> None:
        for manager in self._managers.values():
            manager.due()

    def _report(self, report: Report) -> None:
        try:
            self._channel.send(report)
        except OSError:
            self._done = True  # the supervisor is gone, and so is whoever would read this

    def _on_command(self) -> None:
        try:
            command: Command = self._channel.recv()
        except (EOFError, OSError):
            self._end_managers()
            self._done = True
            return
        match command:
            case Attach():
                self._attachment.attach(command)
            case Rename():
                for manager in self._managers.values():
                    manager.rename(command.hostname)
            case LeaveSandbox():
                self._on_leave(command)
            case Delete():
                self.discard()

    def _on_leave(self, command: LeaveSandbox) -> None:
        for manager in self._managers.values():
            manager.finish()
        if command.keep:
            self._unreleased.clear()
        left = Left(frozenset() if command.keep else self._release_inside())
        if self._attachment.inside:
            self._left = left
        else:
            self._report(left)
        self._attachment.leave()
        self._end_managers()

    def _end_managers(self) -> None:
        for manager in self._managers.values():
            manager.end()

    def _release_inside(self) -> frozenset[Family]:
        """The families whose leases were released."""
        interface = self._attachment.interface
        released: set[Family] = set()
        if interface is None:
            return frozenset()
        for family, manager in self._managers.items():
            self._tried.add(family)  # a server that cannot be told now cannot be told a second later either
            try:
                release(interface, manager.lease, self._spec.mac)
            except ReleaseError as error:
                log.warning("lease not released: %s", error, extra={"interface": interface})
            else:
                released.add(family)
        self._unreleased -= released
        return frozenset(released)

    def discard(self) -> None:
        """Releases what is held and removes the link."""
        for manager in self._managers.values():
            manager.stop()
        self._attachment.leave()
        self._release()
        self._report(Deleted(frozenset(self._unreleased)))
        self._done = True
        # Nobody waits for what is left, which takes the kernel 15 ms each.
        discard(self._spec, self._link)

    def _release(self) -> None:
        """If that was not tried already."""
        for family in self._unreleased - self._tried:
            if release_from_host(self._spec, self._link, self._managers[family].lease):
                self._unreleased.remove(family)
