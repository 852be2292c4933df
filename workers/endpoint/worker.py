"""One endpoint's worker, from its first leases to DeleteEndpoint.

    commands ──► ┌────────┐ ◄── netlink notifications (the link moved, an address came)
    reports  ◄── │ worker │ ◄── udhcpc's events and log
                 └────────┘
It follows the link into the sandbox, where lease managers keep the leases, releases them at Leave and removes the link
at Delete. One thread; it waits in one place only. End of file on the channel means that the supervisor is gone: the
worker ends and releases nothing, because the container lives on. Must not know how the link is made, nor how a lease is
obtained or kept.

One process hands it to the next (workers.entry.sleeper) when nothing happens (workers.entry.handover). The worker and
its parts are dataclasses: their fields are the state that is handed over, and all that is handed over. `bind` makes the
rest anew: callbacks, and what follows from the endpoint's specification.
"""

import logging
import math
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from multiprocessing.connection import Connection

from workers.acd.probe import AddressProbe
from workers.contract import messages
from workers.contract.errors import ReleaseError
from workers.contract.exchange import taken
from workers.contract.lease import NO_LEASE, AnyLease, Family, Lease
from workers.contract.messages import Attach, EndpointSpec, LeaseObtained, Left, Report
from workers.dhcp4.udhcpc import Start
from workers.endpoint.clients import Renewal
from workers.endpoint.creation import Made
from workers.endpoint.host_release import release_from_host
from workers.endpoint.lease_manager import LeaseManager
from workers.endpoint.lease_manager6 import LeaseManager6
from workers.endpoint.sandbox import Sandbox
from workers.link.host_macvlan import reach
from workers.link.kind import discard, link_of, make_again, on_the_wire
from workers.netlink.operations import Link, NetlinkError
from workers.resolver.forwarder import Forwarder
from workers.resolver.resolver import Resolver
from workers.system.alarm import Alarm
from workers.system.clock import boottime
from workers.system.poll import ready
from workers.system.process_log import log_from
from workers.system.throttle import Throttle

QUIET_SECONDS = 1.0  # of idleness before the worker goes to sleep; as a rule the next event comes sooner

log = logging.getLogger(__name__)


@dataclass(init=False, eq=False)
class Worker:
    """The endpoint as this process sees it.

    `done`: the endpoint is deleted, or the supervisor gone. `_attach` is the command that named the sandbox, from
    Attach to Leave. `_interface` is the link's name in there, as soon as the leases are kept there.
    `_landmark` is the link's (workers.link.endpoint_link).
    """

    _spec: EndpointSpec
    _channel: Connection
    _alarm: Alarm
    _landmark: Link | None
    _ipv4: LeaseManager | None
    _ipv6: LeaseManager6 | None
    _sandbox: Sandbox
    _probes: dict[Family, AddressProbe]
    _takeover: bool
    _unreleased: set[Family]
    _tried: set[Family]
    _log_level: int
    _resolver: Resolver | None = None
    _attach: Attach | None = None
    _interface: str | None = None
    _left: Left | None = None
    done: bool = False

    def __init__(
        self,
        spec: EndpointSpec,
        channel: Connection,
        leases: Iterable[AnyLease],
        held: Set[Family],
        made: Made | None = None,
    ) -> None:
        """This worker releases the leases of the families in `held`.

        Without `made`, a worker that died had them; the link may be in the sandbox, or gone with it, long since.
        """
        self._spec = spec
        self._channel = channel
        self._alarm = Alarm()
        self._landmark = made.link.landmark if made else None
        acquired = made.acquired if made else {}
        self._probes = {family: one.probe for family, one in acquired.items()}
        # One for each family of the endpoint, also for one in which no server has answered yet.
        (v4, v6), known = Family, {one.family: one for one in leases}
        sure = {family for family, one in acquired.items() if one.confirmed}
        self._ipv4 = self._ipv6 = None
        if v4 in spec.families:
            self._ipv4 = LeaseManager(spec, known.get(v4), self._report, confirmed=v4 in sure)
        if v6 in spec.families:
            self._ipv6 = LeaseManager6(spec, known.get(v6), self._report, confirmed=v6 in sure)
        self._sandbox = Sandbox()
        self._takeover = made is None
        self._unreleased, self._tried = set(held), set()
        self._log_level = logging.getLogger().level
        self.bind()

    def bind(self) -> None:
        """All that is not handed from turn to turn."""
        self._link = link_of(self._spec, self._landmark)
        self._sandbox.bind(self._spec, self._link)
        for manager in self._managers.values():
            manager.bind(self._spec, self._report)

    def close(self) -> None:
        """Of a worker that has not begun anything: closes what it has opened."""
        for part in (self._channel, self._alarm, self._sandbox):
            part.close()

    @property
    def _managers(self) -> dict[Family, LeaseManager | LeaseManager6]:
        both = zip(Family, (self._ipv4, self._ipv6), strict=True)
        return {family: manager for family, manager in both if manager is not None}

    # The one place where it waits.

    def serve(self) -> None:
        """Waits and reacts until nothing happens any more, or the sleeper has something to do."""
        log_from(self._log_level)  # the sleeper, from which this turn was forked, may have another one
        idle, throttle = False, Throttle()
        while not (idle or self.done or self._left or self._starting):
            self._alarm.set(self._next_at)
            sources, now = self.sources(), boottime()
            heard = throttle.open(sources, now)
            deaf = len(heard) < len(sources)
            found = ready(heard, throttle.rest(now) if deaf else self._patience)
            for number in found:
                if number in self.sources():  # an earlier one of this round may have closed it
                    if number in self._floodable:
                        throttle.count(number)
                    sources[number]()
            idle = not (found or deaf)
        if self._forwarder is not None:
            self._forwarder.trim()
        if not self.done:
            self._tell_messages()
            self._alarm.set(self._next_at)

    def sources(self) -> dict[int, Callable[[], None]]:
        """The descriptors to wait for, each with the function to call when it is readable."""
        sources: dict[int, Callable[[], None]] = {
            self._channel.fileno(): self._on_command,
            self._alarm.fileno(): self._on_alarm,
        }
        for manager in self._managers.values():
            sources |= manager.sources()
        if self._forwarder is not None:
            sources |= self._forwarder.sources()
        sources |= dict.fromkeys(self._sandbox.sources(), self._on_change)
        for probe in self._probes.values():
            sources |= dict.fromkeys(probe.sources(), self._on_claim)
        return sources

    @property
    def _floodable(self) -> set[int]:
        """The descriptors by which the LAN and the container can wake us, once a start waits for nothing any more."""
        if self._interface is None:
            return set()
        return {*self._sandbox.sources(), *(number for one in self._managers.values() for number in one.sources())}

    @property
    def _starting(self) -> bool:
        return self._ipv4 is not None and self._ipv4.clients.starting

    @property
    def _next_at(self) -> float | None:
        return min((part.next_at for part in self._parts if part.next_at is not None), default=None)

    @property
    def _parts(self) -> tuple[LeaseManager | LeaseManager6 | Forwarder, ...]:
        """All that has deadlines of its own."""
        return (*self._managers.values(), *([self._forwarder] if self._forwarder else ()))

    @property
    def _forwarder(self) -> Forwarder | None:
        """Where the container's questions of names go, if not to Docker's resolver."""
        return self._resolver.forwarder if self._resolver else None

    @property
    def _patience(self) -> float | None:
        """The worker does not sleep while its link is on the way: links change often when containers start."""
        return None if self._attach is not None and self._interface is None else QUIET_SECONDS

    def _on_alarm(self) -> None:
        for manager in self._managers.values():
            manager.due()
        if self._forwarder is not None:
            self._forwarder.due(boottime())

    def _report(self, report: Report) -> None:
        if isinstance(report, LeaseObtained):
            self._unreleased.add(report.lease.family)
            self._follow_resolver()
        self._tell_messages()
        self._send(report)

    def _tell_messages(self) -> None:
        """Unanswered ones lead to no report, and are told when nothing has happened for a while."""
        if exchanged := taken():
            self._send(messages.Exchanged(exchanged))

    def _send(self, report: Report) -> None:
        try:
            self._channel.send(report)
        except OSError:
            self.done = True  # the supervisor is gone and reads no report

    # The supervisor's commands, in the order of an endpoint's life.

    def _on_command(self) -> None:  # noqa: C901, PLR0912, PLR0915  one case a command
        try:
            command: messages.Command = self._channel.recv()
        except (EOFError, OSError):
            self._drop_resolver()
            self._end_managers()
            self.done = True
            return
        match command:
            case Attach():
                self._on_attach(command)
            case messages.MakeLink():
                self._on_make_link(command)
            case messages.UseResolver():
                self._drop_resolver()
                self._resolver = Resolver(self._spec.endpoint_id, command)
                self._follow_resolver()
            case messages.Rename():
                for manager in self._managers.values():
                    manager.rename(command.hostname)
            case messages.Reach():
                self._on_reach(command)
            case messages.AskServers():
                for manager in self._managers.values() if self._interface else ():
                    manager.ask()
            case messages.GiveBack():
                self._on_give_back()
            case messages.SetLogLevel(level):
                self._log_level = level
                log_from(level)
            case messages.LimitMtu(mtu):
                self._on_limit(mtu)
            case messages.LeaveSandbox():
                self._on_leave(command)
            case messages.Delete():
                self.discard()

    def _on_attach(self, command: Attach) -> None:
        """Follows the link to the sandbox from now on. Raises NetlinkError, OSError."""
        self._attach = command
        if command.arrived and self._sandbox.is_abandoned(command.path):
            self._end_managers()
            self._lose_sandbox()
            return
        self._sandbox.watch()
        self._advance()

    def _on_make_link(self, command: messages.MakeLink) -> None:
        """Makes the link anew that went with its parent; goes on with it as with one that has arrived."""
        if self._interface is not None:
            return
        self._sandbox.leave()
        self._spec = on_the_wire(self._spec)
        self.bind()
        try:
            make_again(self._spec, self._link, command.attach.path, command.interface)
        except (NetlinkError, OSError) as error:
            self._leave_sandbox()
            self._report(messages.LinkNotMade(str(error)))
            return
        self._attach = command.attach
        self._enter(command.attach)
        link = self._sandbox.link()
        if link is not None and self._ipv4 is not None:
            self._ipv4.restore(link.name, command.attach.gateway, self._link.mtu_limit(link), command.routes)
        self._follow_resolver()
        self._advance()

    def _on_reach(self, command: messages.Reach) -> None:
        manager = self._managers[Family.IPV4]
        if self._interface is not None and isinstance(manager.lease, Lease):
            try:
                reach(self._interface, manager.lease.address.ip, command.addresses)
            except NetlinkError as error:  # the link has gone, and the kernel tells that, too
                log.warning("routes to containers not set: %s", error, extra={"interface": self._interface})

    def _on_give_back(self) -> None:
        interface = self._interface
        if interface is None:
            return
        for manager in self._managers.values():
            try:
                manager.release()
            except ReleaseError as error:
                log.warning("lease not released: %s", error, extra={"interface": interface})
            manager.ask_anew()

    def _on_limit(self, mtu: int) -> None:
        """Changes nothing on a link that has not arrived yet: its MTU is set when it does."""
        if self._interface is not None:
            for manager in self._managers.values():
                manager.limit_mtu(mtu)

    def _on_leave(self, command: messages.LeaveSandbox) -> None:
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
        """Releases the leases. Returns the families whose leases were released."""
        released: set[Family] = set()
        if self._interface is None:
            return frozenset()
        for family, manager in self._managers.items():
            if family not in self._unreleased:
                continue
            self._tried.add(family)  # a release that fails now would fail a second later, too
            try:
                manager.release()
            except ReleaseError as error:
                log.warning("lease not released: %s", error, extra={"interface": self._interface})
            else:
                released.add(family)
        self._unreleased -= released
        return frozenset(released)

    def discard(self) -> None:
        """Releases the leases that are held, unless that was tried already, and removes the link."""
        for manager in self._managers.values():
            manager.stop()
        self._leave_sandbox()
        for family in self._unreleased - self._tried:
            lease = self._managers[family].lease
            if lease is None or not lease.runs(boottime()) or release_from_host(self._spec, self._link, lease):
                self._unreleased.remove(family)
        # Alone: a job sends one message, and nobody asks for others.
        self._send(messages.Deleted(frozenset(self._unreleased)))
        self.done = True
        # The supervisor does not wait for the rest, which takes the kernel 15 ms each.
        discard(self._spec, self._link)

    def _end_managers(self) -> None:
        for manager in self._managers.values():
            manager.end()

    # The link's way: Docker moves it into the sandbox, gives it its address there, and renames it.

    def _on_change(self) -> None:
        self._sandbox.drain()
        self._advance()

    def _advance(self) -> None:
        """Takes the next steps for which the link is ready, until the leases are kept in the sandbox."""
        if self._attach is not None and not self._sandbox.inside:
            self._enter(self._attach)
            self._follow_resolver()  # at once: the container's first process may start in a moment
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
                self._report(messages.NotMoved())
        elif self._sandbox.enter(attach.path):
            self._landmark = self._link.landmark
            for probe in self._probes.values():
                probe.interrupt()
        elif self._takeover or attach.arrived:
            self._lose_sandbox()  # else the container has ended already, and Leave or Delete is on its way

    def _begin(self) -> None:
        """Starts the lease managers, if the link has arrived."""
        link = self._arrival()
        if link is not None and self._sandbox.drain():
            link = self._arrival()  # a notification that comes later would wake the worker once more
        if link is None or self._attach is None:
            return
        self._interface = link.name
        self._on_claim()
        self._report(messages.Attached(link.name))
        for family, manager in self._managers.items():
            probe = self._probes.pop(family, None)
            manager.begin(link.name, self._attach, self._link.mtu_limit(link), probe)
            if probe is not None:
                probe.forget()

    def _arrival(self) -> Link | None:
        """The link in the sandbox, once Docker and the kernel have finished with it."""
        arrived = self._attach is not None and self._attach.arrived
        awaited = [m.lease.address.ip for m in self._managers.values() if isinstance(m.lease, Lease)]
        there = all(self._sandbox.has_address(address) for address in awaited if address != NO_LEASE.address.ip)
        if not (there or arrived or self._takeover):
            return None
        link = self._sandbox.link()
        if link is None and (arrived or self._takeover):
            self._lose_sandbox(only_link=True)
        if link is None or not link.up:
            return None
        return link if arrived or (there and link.settled) else None

    def _follow_resolver(self) -> None:
        """The container resolves names as its leases say, if the network has that option."""
        if self._resolver is None or not self._sandbox.inside:
            return
        leases = [manager.lease for manager in self._managers.values() if manager.lease is not None]
        servers = [server for lease in leases for server in lease.dns if not server.is_link_local]  # of which link?
        search = dict.fromkeys(name for lease in leases for name in lease.search_list)
        self._resolver.follow([lease.address.ip for lease in leases], servers, list(search))

    def _drop_resolver(self) -> None:
        """Leaves the questions to Docker's resolver until there is another worker, or another way to the file."""
        if self._resolver is not None and self._sandbox.inside:
            self._resolver.pause()
        self._resolver = None

    def _follow(self) -> None:
        """With CAP_NET_ADMIN a container can rename its link, change or remove it."""
        link = self._sandbox.link()
        if link is None:
            self._on_link_gone()
        elif link.up and link.name != self._interface:
            self._interface = link.name
            self._report(messages.Attached(link.name))
            for manager in self._managers.values():
                manager.move(link.name)
        elif link.up:
            for manager in self._managers.values():
                manager.check()

    def _on_claim(self) -> None:
        """A neighbour answered our probe after Docker had learnt the address: the lease manager mends that."""
        for family, probe in list(self._probes.items()):
            mac = probe.claimant()
            if mac is not None:
                self._probes.pop(family).forget()
                self._managers[family].on_conflict(mac)

    def _on_link_gone(self) -> None:
        self._end_managers()
        what = f"{self._interface or 'the link'} vanished from the sandbox"
        self._report(messages.LeaseTrouble(messages.Trouble.LINK_GONE, what, None))
        self._lose_sandbox(only_link=True)

    def _lose_sandbox(self, *, only_link: bool = False) -> None:
        seen = self._interface is not None
        self._leave_sandbox()
        with_parent = only_link and self._sandbox.went_with_parent()
        # What became of a link that this process has never seen nobody knows: as a rule it went with its parent.
        awaits = self._sandbox.awaited() if with_parent or (only_link and not seen) else None
        self._report(messages.SandboxGone(only_link, with_parent, awaits))

    def _leave_sandbox(self) -> None:
        """Goes back into the host's network namespace, if it was in a sandbox."""
        if self._resolver is not None and self._sandbox.inside:
            self._resolver.undo()
        self._resolver = None
        self._attach = None
        self._interface = None
        self._sandbox.leave()

    # The turn asks this before it hands the worker to the next process, and after that.

    @property
    def name(self) -> str:
        return self._spec.process_name

    @property
    def ids(self) -> tuple[str, str]:
        """Its network's and its endpoint's, for the log."""
        return self._spec.network_id, self._spec.endpoint_id

    def expected(self) -> Renewal | None:
        """The renewal that needs no turn, if there is one."""
        ipv4 = self._ipv4
        renewal = ipv4.renewal() if ipv4 is not None else None
        if ipv4 is None or renewal is None:
            return None
        others = (ipv4.other_at, *(part.next_at for part in self._parts if part is not ipv4))
        other_at = min((at for at in others if at is not None), default=math.inf)
        return renewal._replace(other_at=other_at, channel=self._channel.fileno(), alarm=self._alarm.fileno())

    def renewed(self, at: float, asleep: float) -> None:
        """The sleeper took the renewal that was expected, at that `boottime()` and `slept()`."""
        assert self._ipv4 is not None
        self._ipv4.renewed(at, asleep)

    def take_start(self) -> Start | None:
        """The udhcpc that the process becomes after the handover, if any."""
        return None if self._ipv4 is None else self._ipv4.clients.take_start()

    def take_left(self) -> Left | None:
        """The report of a Leave, which is due once the sleeper has left the sandbox, too; else None."""
        left, self._left = self._left, None
        return left

    def take_ended(self) -> list[int]:
        """The udhcpcs that have ended since the last call."""
        return [] if self._ipv4 is None else self._ipv4.clients.take_ended()

    def say_left(self, left: Left) -> None:
        """Reports that all of this worker's processes have left the sandbox."""
        self._report(left)
