"""The clients that renew a lease in the sandbox: a udhcpc or our own client; one of them at a time, or none.

Owns their start, their end and the restart of a udhcpc that died. Must not know the meaning of their events.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from workers.contract.lease import Family, Lease
from workers.contract.messages import ClientStarted, LeaseTrouble, Report, Trouble
from workers.dhcp4.machine import Machine
from workers.dhcp4.native import NativeClient
from workers.dhcp4.udhcpc import Client, ClientEvent, ClientOptions, Start
from workers.system.backoff import Backoff
from workers.system.clock import boottime, slept
from workers.system.deadlines import Deadlines

LATE_SECONDS = 1.0  # after T2: then udhcpc is late; and of a suspend that counts
AGAIN_SECONDS = 4.0  # after T1: BusyBox misses an answer that comes at once, and asks again 3 s later
RETRY_SECONDS = 5.0


class Renewal(NamedTuple):
    """A renewal that needs no turn: `words` come from the descriptor `events` of a udhcpc whose log is `log`.

    The supervisor hears of it over `channel`. udhcpc is late `seconds` after the words: then `alarm` goes off, but not
    later than at `other_at` (`boottime()`). The worker fills in what concerns more than the client.
    """

    words: bytes
    seconds: float
    events: int
    log: int
    other_at: float = math.inf
    channel: int = -1
    alarm: int = -1


@dataclass(eq=False)
class Clients:
    """At most one of `_client` and `_native` is there."""

    _client: Client | None = None
    _native: NativeClient | None = None
    _ended: list[int] = field(default_factory=list)
    _started: float = 0.0
    _backoff: Backoff = field(default_factory=Backoff)
    _deadlines: Deadlines = field(default_factory=Deadlines)
    _lease: Lease | None = None
    _slept: float = 0.0

    def bind(
        self,
        options: Callable[[], ClientOptions],
        take: Callable[[ClientEvent], None],
        report: Callable[[Report], None],
        late: Callable[[], None],
    ) -> None:
        """`options` gives the options of a udhcpc that starts now; `take` gets each event of the present client.

        `late` is called when udhcpc has not renewed a lease in time.
        """
        self._options = options
        self._take = take
        self._late = late
        self._report = report

    @property
    def running(self) -> bool:
        """Whether there is a client. A udhcpc that starts later does not count."""
        return self._client is not None or self._native is not None

    @property
    def starting(self) -> bool:
        """Whether there is a udhcpc that has not started yet."""
        return self._client is not None and self._client.start is not None

    def take_ended(self) -> list[int]:
        """The pids of the udhcpcs that have ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def take_start(self) -> Start | None:
        """The start of a udhcpc, if one has not started yet; the caller carries it out."""
        return None if self._client is None else self._client.take_start()

    @property
    def next_at(self) -> float | None:
        """The `boottime()` at which to call `due`."""
        native = None if self._native is None else self._native.next_at
        return min((t for t in (native, self._deadlines.next_at) if t is not None), default=None)

    def sources(self) -> dict[int, Callable[[], None]]:
        """The descriptors to wait for, each with the function to call when it is readable."""
        if self._client is not None:
            return {self._client.events.fileno(): self._on_events, self._client.errors.fileno(): self._on_log}
        return {} if self._native is None else dict.fromkeys(self._native.sources(), self._on_answer)

    def start_udhcpc(self, at: float = 0.0) -> None:
        """Starts a udhcpc in place of the present client, at this `boottime()`, or now if that has passed."""
        self.stop()
        if at > boottime():
            self._report(ClientStarted(None, Family.IPV4))
            self._deadlines.set(self.start_udhcpc, at)
            return
        self._started = boottime()
        self._client = Client(self._options())
        self._report(ClientStarted(self._client.pid, Family.IPV4))

    def start_native(self, interface: str, machine: Machine) -> None:
        """Starts our own client in place of the present client."""
        self.stop()
        self._report(ClientStarted(None, Family.IPV4))
        self._native = NativeClient(interface, machine)

    def accept(self, lease: Lease, asleep: float) -> None:
        """The granted lease is in use from now on; the host had `slept()` for `asleep` seconds by then."""
        if self._native is None:
            self._lease, self._slept = lease, asleep
            self._look_later(lease.obtained)

    def renewal(self, lease: Lease) -> Renewal | None:
        """The renewal that udhcpc tells of next if all stays as it is; it was the one to obtain `lease`."""
        client = self._client
        if client is None or not client.granted or lease.t1 is None:
            return None
        seconds = lease.t1 + AGAIN_SECONDS - lease.obtained
        return Renewal(client.granted, seconds, client.events.fileno(), client.errors.fileno())

    def reject(self) -> None:
        """The granted lease cannot be used: the client, which rests on it, asks once more."""
        if self._client is not None:
            self._restart_later()
        elif self._native is not None:
            self._native.retry(RETRY_SECONDS)

    def due(self, now: float) -> None:
        """Does what is due. Call it at `next_at`."""
        self._deadlines.due(now, self)
        if self._native is not None and self._native.next_at is not None and self._native.next_at <= now:
            self._dispatch(self._native.due())

    def stop(self) -> list[ClientEvent]:
        """Ends the present client; the lease stays held. Returns the last events of a udhcpc."""
        self._deadlines.clear()
        rest: list[ClientEvent] = []
        if self._client is not None:
            _, rest = self._end(self._client)
        if self._native is not None:
            self._native.close()
            self._native = None
        return rest

    def finish(self) -> None:
        """As `stop`, but takes the client's last events: a server may just have granted it a lease."""
        self._dispatch(self._native.read() if self._native is not None else self.stop())
        self.stop()

    def _look_later(self, after: float) -> None:
        """Sets the time by which udhcpc should have renewed the lease."""
        lease = self._lease
        looks = ((lease.t1, AGAIN_SECONDS), (lease.t2, LATE_SECONDS)) if lease else ()
        times = (t + patience for t, patience in looks if t is not None)
        self._deadlines.set(self._look, next((t for t in times if t > after), None))

    def _look(self) -> None:
        """udhcpc's clock stands still in a suspend, and in a long lease it asks other servers half a minute before the
        end. It could be told to renew now, but without an answer it would give the lease up after 12 s."""
        now, missed = boottime(), slept() - self._slept
        self._slept += missed
        self._look_later(now)
        t2 = self._lease.t2 if self._lease is not None else None
        if self._client is not None and (missed > LATE_SECONDS or (t2 is not None and now >= t2)):
            self._late()

    def _on_answer(self) -> None:
        self._dispatch(self._native.read() if self._native else [])

    def _on_log(self) -> None:
        if self._client and not self._client.read_log():
            self._on_death()

    def _on_events(self) -> None:
        events = self._client.read_events() if self._client else []
        if events is None:
            self._on_death()
        self._dispatch(events or [])

    def _dispatch(self, events: Iterable[ClientEvent]) -> None:
        for event in events:
            self._take(event)

    def _on_death(self) -> None:
        if self._client is None:
            return
        words = self._client.last_words
        status, delay = self._restart_later()
        detail = f"udhcpc ended with status {status} ({words or 'no word'}); started again in {delay:g} s"
        self._report(LeaseTrouble(Trouble.CLIENT_DIED, detail, Family.IPV4))

    def _end(self, client: Client) -> tuple[int, list[ClientEvent]]:
        """Ends the client. Returns its exit status and its last events."""
        if client.start is None:
            self._ended.append(client.pid)
        self._client = None
        return client.stop()

    def _restart_later(self) -> tuple[int, float]:
        """Starts another udhcpc later. Returns the exit status of the last one, and the delay in seconds."""
        assert self._client is not None
        status, _ = self._end(self._client)
        delay = self._backoff.failed(boottime() - self._started)
        self._deadlines.set(self.start_udhcpc, boottime() + delay)
        return status, delay
