"""One endpoint's worker, from its first leases to DeleteEndpoint.

    commands ──► ┌────────┐ ◄── netlink notifications (the link moved, an address came)
    reports  ◄── │ worker │ ◄── udhcpc's events and log
                 └────────┘
It follows the link into the sandbox and has the leases kept there, releases them at Leave and removes the link at
Delete. One thread; it waits in one place only. End of file on the channel means that the supervisor is gone: the worker
ends and releases nothing, as the container lives on. Must not know how the link and the leases came about, nor how a
lease is kept.

One process hands it to the next (workers.entry.sleeper) when nothing happens: its state, of the types in
workers.entry.state, and its descriptors (workers.entry.handover).
"""

import logging
from collections.abc import Callable, Iterable, Set
from multiprocessing.connection import Connection

from workers.contract.lease import Family, Lease
from workers.contract.messages import (
    Attach,
    Attached,
    Command,
    Delete,
    Deleted,
    EndpointSpec,
    LeaseTrouble,
    LeaveSandbox,
    Left,
    NotMoved,
    Rename,
    Report,
    SandboxGone,
    Trouble,
)
from workers.dhcp4.release import ReleaseError, release
from workers.dhcp4.udhcpc import Start
from workers.endpoint.creation import Made
from workers.endpoint.host_release import release_from_host
from workers.endpoint.lease_manager import LeaseManager
from workers.endpoint.sandbox import Sandbox
from workers.link.kind import discard, link_of
from workers.netlink.operations import Link, NetlinkError
from workers.system.alarm import Alarm
from workers.system.poll import ready

QUIET_SECONDS = 1.0  # without anything to do, before the worker goes to sleep: what follows comes sooner as a rule

log = logging.getLogger(__name__)


class Worker:
    """The endpoint as this process sees it.

    `_attach` is what Docker told of the sandbox, from Attach to Leave; `_interface` is what the link is called in there
    from the moment that its leases are kept there.
    """

    def __init__(
        self,
        spec: EndpointSpec,
        channel: Connection,
        leases: Iterable[Lease],
        held: Set[Family],
        made: Made | None = None,
    ) -> None:
        """The leases of the families in `held` are ours to release.

        Without `made`, a worker that died had them; the link may have gone to the sandbox, or with it, long ago.
        """
        self._spec = spec
        self._channel = channel
        self._alarm = Alarm()
        self._link = made.link if made else link_of(spec)
        confirmed = made is not None and made.acquired.confirmed
        self._managers = {le.family: LeaseManager(spec, le, self._report, confirmed=confirmed) for le in leases}
        self._sandbox = Sandbox(spec.container_link, self._link)
        self._probe = made.acquired.probe if made else None
        self._takeover = made is None
        self._attach: Attach | None = None
        self._interface: str | None = None
        self._unreleased = set(held)
        self._tried: set[Family] = set()
        self._left: Left | None = None
        self._done = False

    # Where it waits.

    def serve(self) -> None:
        """Waits and reacts until nothing happens any more, or something is left for the process that sleeps."""
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

    def sources(self) -> dict[int, Callable[[], None]]:
        """The descriptors that are waited on, with what to call when one is readable."""
        sources: dict[int, Callable[[], None]] = {
            self._channel.fileno(): self._on_command,
            self._alarm.fileno(): self._on_alarm,
        }
        for manager in self._managers.values():
            sources |= manager.sources()
        sources |= dict.fromkeys(self._sandbox.sources(), self._on_change)
        if self._probe is not None:
            sources |= dict.fromkeys(self._probe.sources(), self._on_claim)
        return sources

    @property
    def _starting(self) -> bool:
        return any(manager.clients.starting for manager in self._managers.values())

    @property
    def _next_at(self) -> float | None:
        return min((m.next_at for m in self._managers.values() if m.next_at is not None), default=None)

    @property
    def _patience(self) -> float | None:
        """A link that is on its way is not slept over: the host's links change often when containers start."""
        return None if self._attach is not None and self._interface is None else QUIET_SECONDS

    def _on_alarm(self) -> None:
        for manager in self._managers.values():
            manager.due()

    def _report(self, report: Report) -> None:
        try:
            self._channel.send(report)
        except OSError:
            self._done = True  # the supervisor is gone, and nobody reads this

    # What the supervisor tells it, in the order of an endpoint's life.

    def _on_command(self) -> None:
        try:
            command: Command = self._channel.recv()
        except (EOFError, OSError):
            self._end_managers()
            self._done = True
            return
        match command:
            case Attach():
                self._on_attach(command)
            case Rename():
                for manager in self._managers.values():
                    manager.rename(command.hostname)
            case LeaveSandbox():
                self._on_leave(command)
            case Delete():
                self.discard()

    def _on_attach(self, command: Attach) -> None:
        """From now on the sandbox is where Docker says. Raises NetlinkError, OSError."""
        self._attach = command
        if command.arrived and self._sandbox.is_abandoned(command.path):
            self._end_managers()
            self._lose_sandbox()
            return
        self._sandbox.watch()
        self._advance()

    def _on_leave(self, command: LeaveSandbox) -> None:
        for manager in self._managers.values():
            manager.finish()
        if command.keep:
            self._unreleased.clear()
        left = Left(frozenset() if command.keep else self._release_inside())
        if self._sandbox.inside:
            self._left = left
        else:
            self._report(left)
        self._leave_sandbox()
        self._end_managers()

    def _release_inside(self) -> frozenset[Family]:
        """The families whose leases were released."""
        released: set[Family] = set()
        if self._interface is None:
            return frozenset()
        for family, manager in self._managers.items():
            self._tried.add(family)  # a server that cannot be told now cannot be told a second later either
            try:
                release(self._interface, manager.lease, self._spec.mac)
            except ReleaseError as error:
                log.warning("lease not released: %s", error, extra={"interface": self._interface})
            else:
                released.add(family)
        self._unreleased -= released
        return frozenset(released)

    def discard(self) -> None:
        """Releases what is held, unless that was tried already, and removes the link."""
        for manager in self._managers.values():
            manager.stop()
        self._leave_sandbox()
        for family in self._unreleased - self._tried:
            if release_from_host(self._spec, self._link, self._managers[family].lease):
                self._unreleased.remove(family)
        self._report(Deleted(frozenset(self._unreleased)))
        self._done = True
        # Nobody waits for the rest, which takes the kernel 15 ms each.
        discard(self._spec, self._link)

    def _end_managers(self) -> None:
        for manager in self._managers.values():
            manager.end()

    # The link's way: Docker moves it into the sandbox, gives it its address there, and renames it.

    def _on_change(self) -> None:
        self._sandbox.drain()
        self._advance()

    def _advance(self) -> None:
        """Goes as far towards keeping the leases in the sandbox as the link has come."""
        if self._attach is not None and not self._sandbox.inside:
            self._enter(self._attach)
        try:
            if self._sandbox.inside and self._interface is None:
                self._begin()
            elif self._sandbox.inside:
                self._follow()
        except (NetlinkError, OSError):
            if self._sandbox.link() is not None:
                raise
            self._on_link_gone()  # between two looks at it

    def _enter(self, attach: Attach) -> None:
        if self._sandbox.has_link_at_home():
            if attach.arrived:
                self._lose_sandbox()  # Docker has moved it back already
            elif self._takeover:
                self._report(NotMoved())
        elif not self._sandbox.enter(attach.path) and (self._takeover or attach.arrived):
            self._lose_sandbox()  # else the container has ended already, and Leave or Delete is on its way

    def _begin(self) -> None:
        """Has the leases kept from now on, if the link has arrived."""
        link = self._arrival()
        while link is not None and self._sandbox.drain():
            link = self._arrival()  # what the kernel still has to tell of it would wake the worker once more
        if link is None or self._attach is None:
            return
        self._interface = link.name
        self._on_claim()
        self._report(Attached(link.name))
        for manager in self._managers.values():
            manager.begin(link.name, self._attach, self._link.mtu_limit(link))

    def _arrival(self) -> Link | None:
        """The link in the sandbox, unless Docker is still at it, or the kernel."""
        arrived = self._attach is not None and self._attach.arrived
        there = all(self._sandbox.has_address(manager.lease.address.ip) for manager in self._managers.values())
        if not (there or arrived or self._takeover):
            return None
        link = self._sandbox.link()
        if link is None and (arrived or self._takeover):
            self._lose_sandbox()
        if link is None or not link.up:
            return None
        return link if arrived or (there and link.settled) else None

    def _follow(self) -> None:
        """With CAP_NET_ADMIN a container can rename its link, change or remove it."""
        link = self._sandbox.link()
        if link is None:
            self._on_link_gone()
        elif link.up and link.name != self._interface:
            self._interface = link.name
            self._report(Attached(link.name))
            for manager in self._managers.values():
                manager.move(link.name)

    def _on_claim(self) -> None:
        """A neighbour answered our probe after Docker was told the address: mended once the link is in the sandbox."""
        if self._probe is None:
            return
        mac = self._probe.claimant()
        self._probe.forget()  # a link that is moved ends it, too
        self._probe = None
        if mac is not None:
            self._managers[Family.IPV4].on_conflict(mac)

    def _on_link_gone(self) -> None:
        self._end_managers()
        what = f"{self._interface or 'the link'} vanished from the sandbox"
        self._report(LeaseTrouble(Trouble.LINK_GONE, what, None))
        self._lose_sandbox()

    def _lose_sandbox(self) -> None:
        self._leave_sandbox()
        self._report(SandboxGone())

    def _leave_sandbox(self) -> None:
        """Back into the host's network namespace, whether there was a sandbox or not."""
        self._attach = None
        self._interface = None
        self._sandbox.leave()

    # What its process asks before it hands the worker to the next one, and after that.

    @property
    def name(self) -> str:
        """Of its process."""
        return self._spec.process_name

    @property
    def done(self) -> bool:
        """Whether the endpoint is deleted, or the supervisor gone."""
        return self._done

    def take_start(self) -> Start | None:
        """What the process is to become when all else of it has been handed over, if anything."""
        starts = (manager.clients.take_start() for manager in self._managers.values())
        return next((start for start in starts if start is not None), None)

    def take_left(self) -> Left | None:
        """If the sandbox has been left: what to report once the process that sleeps has left it, too."""
        left, self._left = self._left, None
        return left

    def take_ended(self) -> list[int]:
        """The udhcpcs that have ended since the last call."""
        return [pid for manager in self._managers.values() for pid in manager.clients.take_ended()]

    def say_left(self, left: Left) -> None:
        """Reports that all of this worker's processes have left the sandbox."""
        self._report(left)
