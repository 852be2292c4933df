"""One endpoint's worker, from CreateEndpoint to DeleteEndpoint.

    commands ──► ┌────────┐ ◄── netlink notifications (the link moved, an address came)
    reports  ◄── │ worker │ ◄── udhcpc's events and log
                 └────────┘
It makes the link, obtains the first lease, follows the link into the sandbox, keeps the lease there, releases it at
Leave and removes the link at Delete. One thread; it waits in one place only, but for the first lease. End of file on
the channel means that the supervisor is gone: the worker ends and releases nothing, as the container lives on.

It is handed from process to process (workers.sleeper) whenever nothing happens: all that it has can be pickled, but for
what has a descriptor, and that is handed over as such (workers.handover).
"""

import logging
import socket
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection

from workers import netns
from workers.acquire import Cancelled, acquire
from workers.alarm import Alarm
from workers.arp import ArpWatch
from workers.changefeed import change_feed, drain, is_here
from workers.keeper import Keeper
from workers.lease import Lease
from workers.messages import (
    Attach,
    Attached,
    Command,
    Created,
    CreateFailed,
    Delete,
    Deleted,
    EndpointSpec,
    LeaseTrouble,
    Leave,
    Left,
    NotMoved,
    Rename,
    Report,
    SandboxGone,
    Trouble,
)
from workers.mtu import follow_mtu
from workers.netlink import Link, Netlink, NetlinkError
from workers.pair import Pair
from workers.ready import ready
from workers.release import ReleaseError, release
from workers.renewal import Expected, Heard
from workers.tally import NoAnswer, NoLease
from workers.udhcpc import Start
from workers.wire import Wire

QUIET_SECONDS = 1.0  # without anything to do, before the worker goes to sleep: what follows comes sooner as a rule

log = logging.getLogger(__name__)


class Worker:
    """The endpoint as this process sees it."""

    def __init__(self, spec: EndpointSpec, channel: Connection) -> None:
        self._spec = spec
        self._channel = channel
        self._pair = Pair(spec)
        self._home = netns.current()
        self._alarm = Alarm()
        self._keeper: Keeper | None = None
        self._owed = False
        self._tried = False
        self._takeover = False
        self._attach: Attach | None = None
        self._inside = False
        self._interface: str | None = None
        self._host_end: Link | None = None
        self._feed: socket.socket | None = None
        self._claims: ArpWatch | None = None
        self._left: Left | None = None
        self._done = False

    def create(self) -> bool:
        """Makes the link and obtains the first lease; after a failure everything is as before."""
        try:
            with Netlink() as netlink:
                self._host_end = self._pair.make(netlink)
                routes = () if self._spec.skip_routes else netlink.bridge_routes(self._host_end)
            with Wire(self._spec.container_link) as wire:
                acquired = acquire(self._spec, self._channel, wire, self._owe)
                self.hold(acquired.lease, words=acquired.words)
                self._claims = acquired.watch
                follow_mtu(self._spec.container_link, None, acquired.lease)
                # Before the wire is closed, which takes 15 ms.
                self._report(Created(acquired.lease, routes, acquired.confirmed))
        except (NetlinkError, NoLease, Cancelled, OSError) as error:
            self._roll_back()
            reason = str(error) or "the endpoint was deleted while it was being made"
            silent, owed = isinstance(error, NoAnswer), self.lease if self._owed else None
            self._report(CreateFailed(reason, silent, owed))
            return False
        return True

    def reclaim(self) -> None:
        """What the server has for this MAC is asked for, to be given back; the endpoint is gone afterwards."""
        try:
            self._channel.recv()  # the Delete that this is for: once more, and it would end the search
            with Netlink() as netlink:
                netlink.delete_link(self._spec.host_link)
                if self._spec.remembered is None:
                    self._pair.make(netlink)
            if self._spec.remembered is None:
                with Wire(self._spec.container_link) as wire:
                    acquire(self._spec, self._channel, wire, self._owe)
        except (NetlinkError, NoLease, Cancelled, OSError, EOFError) as error:
            log.debug("%s has no lease that could be given back: %s", self._spec.mac, error)
        self._roll_back()
        self._report(Deleted(self._owed))

    def _owe(self, lease: Lease | None) -> None:
        if lease is None:
            self._owed = False
        else:
            self.hold(lease)

    def hold(
        self, lease: Lease, *, held: bool = True, takeover: bool = False, words: Mapping[str, str] | None = None
    ) -> None:
        """From now on this lease is ours to keep, and to release if it is `held`; `words` are the server's."""
        self._keeper = Keeper(self._spec, lease, self._report, words)
        self._owed = held
        self._takeover = takeover

    @property
    def lease(self) -> Lease:
        """What the server last acknowledged."""
        return self._held.lease

    @property
    def _held(self) -> Keeper:
        assert self._keeper is not None
        return self._keeper

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
        return self._held.take_ended()

    def take_start(self) -> Start | None:
        """What the process is to become when all else of it has been handed over, if anything."""
        return self._held.take_start()

    def expected(self) -> Expected | None:
        """The renewal that there is no need to wake for."""
        return self._held.expected(self._channel.fileno(), self._alarm.fileno())

    def wake(self, heard: Heard) -> None:
        """Takes what was heard by whoever slept."""
        self._held.wake(heard)

    def serve(self) -> None:
        """Waits and reacts until nothing happens any more, or something is left to be done by whoever sleeps."""
        idle = False
        while not (idle or self._done or self._left or self._held.starting):
            self._alarm.set(self._held.next_at)
            sources = self.sources()
            found = ready(sources, self._patience)
            for number in found:
                if number in self.sources():  # an earlier one of this round may have closed it
                    sources[number]()
            idle = not found
        if not self._done:
            self._alarm.set(self._held.next_at)

    @property
    def _patience(self) -> float | None:
        """A link that is on its way is not slept over: the host's links change often when containers start."""
        awaits_link = self._attach is not None and self._interface is None
        return None if awaits_link else QUIET_SECONDS

    def sources(self) -> dict[int, Callable[[], None]]:
        """The descriptors that are waited on, with what to call when one is readable."""
        sources: dict[int, Callable[[], None]] = {
            self._channel.fileno(): self._on_command,
            self._alarm.fileno(): self._held.due,
        }
        sources.update(self._held.sources())
        if self._feed is not None:
            sources[self._feed.fileno()] = self._on_kernel_change
        if self._claims is not None:
            sources[self._claims.fileno()] = self._on_claim
        return sources

    def _on_claim(self) -> None:
        """An answer to the probe that came after ours to Docker: mended as soon as the link is in the sandbox."""
        claims = self._claims.claims() if self._claims is not None else []
        self._unwatch()  # a link that is moved ends it, too
        if claims:
            self._held.contest(claims[0])

    def _unwatch(self) -> None:
        if self._claims is not None:
            self._claims.close()
            self._claims = None

    def _report(self, report: Report) -> None:
        try:
            self._channel.send(report)
        except OSError:
            self._done = True  # the supervisor is gone, and so is whoever would read this

    def _on_command(self) -> None:
        try:
            command: Command = self._channel.recv()
        except (EOFError, OSError):
            self._held.end()
            self._done = True
            return
        match command:
            case Attach():
                self._on_attach(command)
            case Rename():
                self._held.rename(command.hostname)
            case Leave():
                self._on_leave(command)
            case Delete():
                self.discard()

    def _on_attach(self, command: Attach) -> None:
        self._attach = command
        if self._inside and command.arrived and netns.is_abandoned(command.path):
            self._held.end()
            self._lose_sandbox()
            return
        self._watch()
        self._advance()

    def _on_leave(self, command: Leave) -> None:
        self._attach = None
        self._held.finish()
        if command.keep:
            self._owed = False
            self._interface = None
        left = Left(released=self._interface is not None and self._release_inside(self._interface))
        if self._inside:
            self._left = left
        else:
            self._report(left)
        self._go_home()
        self._held.end()

    def _release_inside(self, interface: str) -> bool:
        self._tried = True  # a server that cannot be told now cannot be told a second later either
        try:
            release(interface, self.lease, self._spec.mac)
        except ReleaseError as error:
            log.warning("lease not released: %s", error, extra={"interface": interface})
            return False
        self._owed = False
        return True

    def discard(self) -> None:
        """Gives back what is held and removes the link."""
        self._attach = None
        self._held.stop()
        self._go_home()
        self._release()
        self._report(Deleted(self._owed))
        self._done = True
        # Nobody waits for what is left, which takes the kernel 15 ms each.
        self._pair.remove()

    def _roll_back(self) -> None:
        """The lease is given back, the link removed."""
        self._release()
        self._pair.remove()

    def _release(self) -> None:
        """If that was not tried already."""
        if self._owed and not self._tried:
            self._owed = not self._pair.release(self.lease)

    def _on_kernel_change(self) -> None:
        if self._feed is not None:
            drain(self._feed)
        self._advance()

    def _advance(self) -> None:
        """Goes as far towards keeping the lease in the sandbox as the link has come."""
        if self._attach is not None and not self._inside:
            self._enter(self._attach.path, arrived=self._attach.arrived)
        try:
            if self._inside and self._interface is None:
                self._begin()
            elif self._inside:
                self._follow()
        except (NetlinkError, OSError):
            if self._find_link() is not None:
                raise
            self._on_link_gone()  # between two looks at it

    def _enter(self, path: str, *, arrived: bool) -> None:
        if is_here(self._spec.container_link):  # as a rule: each start on this host makes dozens of changes
            if arrived:
                self._lose_sandbox()  # Docker has moved it back already
            elif self._takeover:
                self._report(NotMoved())
            return
        if self._host_end is None:
            with Netlink() as netlink:
                self._host_end = netlink.link(self._spec.host_link)
        try:
            sandbox = netns.open_namespace(path)
            try:
                sandbox.enter()  # a namespace that has gone leaves an empty file
            finally:
                sandbox.close()
        except OSError as error:
            log.debug("the link has gone, its sandbox cannot be entered: %s", error)
            if self._takeover or arrived:
                self._lose_sandbox()
            return  # else the container has ended already, and Leave or Delete is on its way
        self._inside = True
        self._watch()

    def _begin(self) -> None:
        link = self._arrival()
        while link is not None and self._feed is not None and drain(self._feed):
            link = self._arrival()  # what is still to be heard of it would wake the worker once more
        if link is None or self._attach is None:
            return
        self._interface = link.name
        self._on_claim()
        self._report(Attached(link.name))
        self._held.begin(link.name, self._attach, self._host_end.mtu if self._host_end else link.mtu)

    def _arrival(self) -> Link | None:
        """The link in the sandbox, unless Docker is still at it, or the kernel."""
        arrived = self._attach is not None and self._attach.arrived
        with Netlink() as netlink:
            there = self.lease.address.ip in {a.ip for a in netlink.addresses()}
        if not (there or arrived or self._takeover):
            return None
        link = self._find_link()
        if link is None and (arrived or self._takeover):
            self._lose_sandbox()
        if link is None or not link.up:
            return None
        return link if arrived or (there and link.settled) else None

    def _find_link(self) -> Link | None:
        with Netlink() as netlink:
            # A VLAN on it has its MAC, too.
            return netlink.link_by_mac(self._spec.mac, self._host_end.index if self._host_end else None)

    def _follow(self) -> None:
        """With CAP_NET_ADMIN a container can rename its link, change or remove it."""
        self._held.unsettle()
        link = self._find_link()
        if link is None:
            self._on_link_gone()
        elif link.up and link.name != self._interface:
            self._interface = link.name
            self._report(Attached(link.name))
            self._held.move(link.name)

    def _on_link_gone(self) -> None:
        self._held.end()
        self._report(LeaseTrouble(Trouble.LINK_GONE, f"{self._interface or 'the link'} vanished from the sandbox"))
        self._lose_sandbox()

    def _lose_sandbox(self) -> None:
        self._attach = None
        self._go_home()
        self._report(SandboxGone())

    def _watch(self) -> None:
        """Notifications of the namespace that the process is in now."""
        if self._feed is not None:
            self._feed.close()
        self._feed = change_feed()

    def _go_home(self) -> None:
        """Back into the host's network namespace: a process that stays keeps the sandbox alive."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None
        if self._inside:
            self._home.enter()
        self._inside, self._interface = False, None
