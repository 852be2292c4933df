"""One endpoint's worker, from its first lease to DeleteEndpoint.

    commands ──► ┌────────┐ ◄── netlink notifications (the link moved, an address came)
    reports  ◄── │ worker │ ◄── udhcpc's events and log
                 └────────┘
It has the link followed into the sandbox and the lease kept there, releases it at Leave and removes the link at Delete.
One thread; it waits in one place only. End of file on the channel means that the supervisor is gone: the worker ends
and releases nothing, as the container lives on. Must not know how the link and the lease came about.

It is handed from process to process (workers.sleeper) whenever nothing happens: all that it has can be pickled, but for
what has a descriptor, and that is handed over as such (workers.handover).
"""

import logging
from collections.abc import Callable
from multiprocessing.connection import Connection

from workers.alarm import Alarm
from workers.attachment import Attachment
from workers.creation import Made
from workers.keeper import Keeper
from workers.lease import Lease
from workers.messages import Attach, Command, Delete, Deleted, EndpointSpec, Leave, Left, Rename, Report
from workers.pair import Pair
from workers.ready import ready
from workers.release import ReleaseError, release
from workers.renewal import Expected, Heard
from workers.udhcpc import Start

QUIET_SECONDS = 1.0  # without anything to do, before the worker goes to sleep: what follows comes sooner as a rule

log = logging.getLogger(__name__)


class Worker:
    """The endpoint as this process sees it."""

    def __init__(
        self, spec: EndpointSpec, channel: Connection, lease: Lease, *, held: bool = True, made: Made | None = None
    ) -> None:
        """The lease is ours to release if it is `held`; without `made` it is taken over from a worker that died."""
        self._spec = spec
        self._channel = channel
        self._pair = Pair(spec)
        self._alarm = Alarm()
        self._keeper = Keeper(spec, lease, self._report, made.acquired.words if made else None)
        self._attachment = Attachment(spec, self._keeper, self._report, made)
        self._owed = held
        self._tried = False
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
        return self._keeper.clients.take_ended()

    def take_start(self) -> Start | None:
        """What the process is to become when all else of it has been handed over, if anything."""
        return self._keeper.clients.take_start()

    def expected(self) -> Expected | None:
        """The renewal that there is no need to wake for."""
        return self._keeper.expected(self._channel.fileno(), self._alarm.fileno())

    def wake(self, heard: Heard) -> None:
        """Takes what was heard by whoever slept."""
        self._keeper.wake(heard)

    def serve(self) -> None:
        """Waits and reacts until nothing happens any more, or something is left to be done by whoever sleeps."""
        idle = False
        while not (idle or self._done or self._left or self._keeper.clients.starting):
            self._alarm.set(self._keeper.next_at)
            sources = self.sources()
            found = ready(sources, self._patience)
            for number in found:
                if number in self.sources():  # an earlier one of this round may have closed it
                    sources[number]()
            idle = not found
        if not self._done:
            self._alarm.set(self._keeper.next_at)

    @property
    def _patience(self) -> float | None:
        """A link that is on its way is not slept over: the host's links change often when containers start."""
        return None if self._attachment.awaits_link else QUIET_SECONDS

    def sources(self) -> dict[int, Callable[[], None]]:
        """The descriptors that are waited on, with what to call when one is readable."""
        own: dict[int, Callable[[], None]] = {
            self._channel.fileno(): self._on_command,
            self._alarm.fileno(): self._keeper.due,
        }
        return own | self._keeper.sources() | self._attachment.sources()

    def _report(self, report: Report) -> None:
        try:
            self._channel.send(report)
        except OSError:
            self._done = True  # the supervisor is gone, and so is whoever would read this

    def _on_command(self) -> None:
        try:
            command: Command = self._channel.recv()
        except (EOFError, OSError):
            self._keeper.end()
            self._done = True
            return
        match command:
            case Attach():
                self._attachment.attach(command)
            case Rename():
                self._keeper.rename(command.hostname)
            case Leave():
                self._on_leave(command)
            case Delete():
                self.discard()

    def _on_leave(self, command: Leave) -> None:
        self._keeper.finish()
        if command.keep:
            self._owed = False
        left = Left(released=not command.keep and self._release_inside())
        if self._attachment.inside:
            self._left = left
        else:
            self._report(left)
        self._attachment.leave()
        self._keeper.end()

    def _release_inside(self) -> bool:
        interface = self._attachment.interface
        if interface is None:
            return False
        self._tried = True  # a server that cannot be told now cannot be told a second later either
        try:
            release(interface, self._keeper.lease, self._spec.mac)
        except ReleaseError as error:
            log.warning("lease not released: %s", error, extra={"interface": interface})
            return False
        self._owed = False
        return True

    def discard(self) -> None:
        """Gives back what is held and removes the link."""
        self._keeper.stop()
        self._attachment.leave()
        self._release()
        self._report(Deleted(self._owed))
        self._done = True
        # Nobody waits for what is left, which takes the kernel 15 ms each.
        self._pair.remove()

    def _release(self) -> None:
        """If that was not tried already."""
        if self._owed and not self._tried:
            self._owed = not self._pair.release(self._keeper.lease)
