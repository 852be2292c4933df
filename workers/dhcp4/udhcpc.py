"""BusyBox udhcpc: its arguments, its events, its end. The only file that knows udhcpc's words.

The plugin passes every option explicitly, because distributions patch the defaults. Events come as NUL-separated
records on udhcpc's standard output (see udhcpc-event.sh), its own log on standard error.
"""

import logging
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from io import FileIO
from ipaddress import IPv4Address
from pathlib import Path
from typing import NoReturn

from msgspec import Struct

from workers.contract.client_identity import ClientIdentity
from workers.contract.exchange import Kind, acknowledged, note, packed
from workers.contract.lease import Family, Lease
from workers.dhcp.effects import Granted, Refused, Unanswered, Unusable
from workers.dhcp.errors import InvalidLease
from workers.dhcp.native import Report
from workers.dhcp4.codec import description
from workers.dhcp4.lease_parser import parse_lease
from workers.system.clock import boottime
from workers.system.libc import follow_parent
from workers.system.poll import ready

SCRIPT = Path(__file__).with_name("udhcpc-event.sh")
RETRY_SECONDS = 3
ROUND_PAUSE_SECONDS = 5  # it asks a server that comes back within one round and one pause: 14 s
STOP_SECONDS = 1.0
MIN_LEASE_SECONDS = 30  # it treats shorter leases as this long, and renews them too late or never
READ_BYTES = 65536
# A record and a line that are not complete yet are handed from turn to turn. The largest record that a packet makes has
# some 10 kB.
MAX_RECORD_BYTES = 1 << 14
MAX_LINE_BYTES = 1 << 10
MAX_GRANTED_BYTES = 1 << 11  # it has some 250 as a rule
END = b"\0\0"  # of a record
# Lines of its log. Those of a renewal are read too late, as nothing waits for them.
SENT = {"broadcasting discover": Kind.DISCOVER, "broadcasting select": Kind.REQUEST}

log = logging.getLogger(__name__)


class EventKind(StrEnum):
    """The first argument of udhcpc's script."""

    DECONFIG = "deconfig"
    BOUND = "bound"
    RENEW = "renew"
    NAK = "nak"
    LEASEFAIL = "leasefail"


GRANTS = (EventKind.BOUND, EventKind.RENEW)
RENEWED = EventKind.RENEW.encode()


@dataclass(frozen=True, slots=True)
class Event:
    """One call of the script; `values` are the server's words, not validated."""

    kind: EventKind
    values: dict[str, str]
    words: bytes = field(default=b"", compare=False)  # the record after the name


class GaveUp(Struct, frozen=True):
    """udhcpc has given its lease up, and asks for another one."""


ClientEvent = Report[Lease] | GaveUp


def understood(event: Event, now: float) -> ClientEvent:
    """udhcpc's event in the words of our own client. Notes what it was answered."""
    match event.kind:
        case EventKind.BOUND | EventKind.RENEW:
            try:
                lease = parse_lease(event.values, now)
            except InvalidLease as error:
                note(packed(Family.IPV4, Kind.ACK))
                return Unusable(str(error))
            note(acknowledged(lease))
            return Granted(lease, fresh=event.kind is EventKind.BOUND)
        case EventKind.NAK:
            note(packed(Family.IPV4, Kind.NAK))
            return Refused(event.values.get("message", "")[:100])
        case EventKind.LEASEFAIL:
            return Unanswered()
        case EventKind.DECONFIG:
            return GaveUp()


class ClientOptions(Struct, frozen=True):
    """One udhcpc; `requested` goes out as option 50."""

    interface: str
    identity: ClientIdentity
    requested: IPv4Address | None = None

    def arguments(self) -> list[str]:
        """The command line. `-B`: no unicast reaches an address that is not on the link yet."""
        identity = self.identity
        words = ["udhcpc", "-f", "-i", self.interface, "-s", str(SCRIPT), "-B", "-o", "-V", identity.vendor_class]
        words += ["-x", f"0x3d:{identity.client_id.hex()}"]
        words += [word for option in identity.parameters for word in ("-O", str(option))]
        words += [word for code, value in description(identity) for word in ("-x", f"{code:#04x}:{value.hex()}")]
        if self.requested:
            words += ["-r", str(self.requested)]
        return [*words, "-t", "3", "-T", str(RETRY_SECONDS), "-A", str(ROUND_PAUSE_SECONDS)]


@dataclass(slots=True)
class Records:
    """Puts events together from the bytes of a pipe."""

    _pending: bytes = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that `data` completes. Logs and drops a record that is not an event of udhcpc."""
        *records, self._pending = (self._pending + data).split(END)
        if len(self._pending) > MAX_RECORD_BYTES:
            log.warning("udhcpc's script reported more than %d bytes at once; they are dropped", MAX_RECORD_BYTES)
            self._pending = b""
        for record in records:
            name, *fields = record.decode("utf-8", "replace").split("\0")
            if name in EventKind.__members__.values():
                yield Event(EventKind(name), dict(f.partition("=")[::2] for f in fields), record[len(name) :])
            else:
                log.warning("udhcpc's script reported an unknown event %r", name[:40])


class Start(Struct, frozen=True):
    """A udhcpc before its start: the program and the ends of its pipes."""

    executable: str
    arguments: list[str]
    output: socket.socket
    errors: FileIO

    def become(self) -> NoReturn:
        """Turns this process into it. Raises OSError.

        A udhcpc must not outlive its worker, the parent of this process: the next one for this endpoint would compete
        with it.
        """
        for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored_by_python, signal.SIG_DFL)
        with Path(os.devnull).open("rb") as nothing:
            for end, standard in ((nothing, 0), (self.output, 1), (self.errors, 2)):
                os.dup2(end.fileno(), standard)
        follow_parent(os.getppid(), signal.SIGTERM)
        os.execve(self.executable, self.arguments, {})  # noqa: S606  a shell is what it is not; its script inherits the {}

    def close(self) -> None:
        self.output.close()
        self.errors.close()


@dataclass(init=False, eq=False)
class Client:
    """A udhcpc in the present network namespace. Wait for `events` and `errors`.

    The process that makes it, `pid`, becomes the udhcpc later, by `start`. `granted` is what its script writes if the
    lease that it has told of last is renewed and stays the same; it is empty if a lease was not the last that it told.
    """

    pid: int
    events: socket.socket
    errors: FileIO
    start: Start | None
    _records: Records
    last_words: str = ""
    granted: bytes = b""
    _begun: bool = False
    _log_rest: bytes = b""

    def __init__(self, options: ClientOptions) -> None:
        """Raises OSError if busybox is missing."""
        busybox = shutil.which("busybox")
        if busybox is None:
            raise FileNotFoundError("busybox, which brings udhcpc, is not installed")
        self.pid = os.getpid()
        self.events, output = socket.socketpair()  # not a pipe: bytes in it can be looked at before they are read
        self.events.setblocking(False)
        self.errors, errors = _pipe()
        self.start = Start(busybox, ["busybox", *options.arguments()], output, errors)
        self._records = Records()

    def take_start(self) -> Start | None:
        """The start, for the process that becomes the udhcpc; None if it has started already."""
        start, self.start = self.start, None
        return start

    def read_events(self) -> list[ClientEvent] | None:
        """The events since the last call; None when udhcpc has ended.

        Each udhcpc begins with a DECONFIG, before any packet, which means nothing.
        """
        self.read_log()  # what it sent comes before what it was answered
        try:
            data = self.events.recv(READ_BYTES)
        except BlockingIOError:
            return []
        return self._events(data) if data else None

    def _events(self, data: bytes) -> list[ClientEvent]:
        events = list(self._records.feed(data))
        begins, self._begun = bool(events) and not self._begun, self._begun or bool(events)
        if events:
            last = events[-1]
            told = RENEWED + last.words + END if last.kind in GRANTS else b""
            self.granted = told if len(told) <= MAX_GRANTED_BYTES else b""
        return [understood(event, boottime()) for event in (events[1:] if begins else events)]

    def read_log(self) -> bool:
        """Takes in udhcpc's own log; False when udhcpc has ended."""
        data = _read(self.errors)
        *lines, rest = (self._log_rest + (data or b"")).split(b"\n")
        self._log_rest = rest[:MAX_LINE_BYTES]
        for line in lines:
            text = line[:MAX_LINE_BYTES].decode("utf-8", "replace").removeprefix("udhcpc: ")
            self.last_words = text
            log.debug("udhcpc[%d] %s", self.pid, text)
            for kind in (SENT[words] for words in SENT if text.startswith(words)):
                note(packed(Family.IPV4, kind, sent=True))
        return data is not None

    def stop(self) -> tuple[int, list[ClientEvent]]:
        """Ends it without a DHCPRELEASE (SIGTERM without -R). Returns its exit status and its last events."""
        status = 0
        if self.start is not None:
            self.start.close()
        else:
            status = self._end()
        rest = self.read_events() or []
        self.events.close()
        self.errors.close()
        return status, rest

    def _end(self) -> int:
        """Waits for its end. Our parent keeps its exit status, so the pid cannot belong to another process."""
        pidfd = os.pidfd_open(self.pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            if not ready([pidfd], STOP_SECONDS):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                ready([pidfd])
        finally:
            os.close(pidfd)
        fields = Path(f"/proc/{self.pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return os.waitstatus_to_exitcode(int(fields[-1]))  # proc_pid_stat(5): the last one is exit_code


def _pipe() -> tuple[FileIO, FileIO]:
    """A reader that does not wait, and its writer."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    return FileIO(reader), FileIO(writer, "w")


def _read(pipe: FileIO) -> bytes | None:
    """The bytes that are there, b"" for none yet, None for end of file."""
    data = pipe.read(READ_BYTES)
    return b"" if data is None else data or None
