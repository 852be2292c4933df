"""BusyBox udhcpc as a child: its arguments, its events, its end. The only file that knows udhcpc's words.

Every option is passed explicitly, since distributions patch the defaults. Events come as NUL-separated records on
its standard output (see udhcpc-event.sh), its own log on standard error.
"""

import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from ipaddress import IPv4Address
from multiprocessing.connection import wait
from pathlib import Path

from workers.dhcp4 import REQUESTED_OPTIONS, VENDOR_CLASS
from workers.libc import follow_parent

SCRIPT = Path(__file__).with_name("udhcpc-event.sh")
RETRY_SECONDS = 3
ROUND_PAUSE_SECONDS = 5  # a server that comes back is asked within one round and one pause: 14 s
STOP_SECONDS = 1.0
MIN_LEASE_SECONDS = 16  # it takes shorter ones for this long
READ_BYTES = 65536

log = logging.getLogger(__name__)


class EventKind(StrEnum):
    """What udhcpc calls its script with."""

    DECONFIG = "deconfig"
    BOUND = "bound"
    RENEW = "renew"
    NAK = "nak"
    LEASEFAIL = "leasefail"


@dataclass(frozen=True, slots=True)
class Event:
    """One call of the script; `values` are the server's words, not validated."""

    kind: EventKind
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """One udhcpc: `requested` goes out as option 50, `hostname` as option 12."""

    interface: str
    mac: str
    requested: IPv4Address | None = None
    hostname: str | None = None

    def arguments(self) -> list[str]:
        """The command line. `-B`: an address that is not on the link yet cannot be sent to by unicast."""
        client_id = "01" + self.mac.replace(":", "")  # hardware type 1 and the address: RFC 2132 section 9.14
        words = ["udhcpc", "-f", "-i", self.interface, "-s", str(SCRIPT), "-B", "-o", "-V", VENDOR_CLASS]
        words += ["-x", f"0x3d:{client_id}"]
        words += [word for option in REQUESTED_OPTIONS for word in ("-O", str(option))]
        if self.hostname:
            words += ["-x", f"0x0c:{self.hostname.encode('ascii').hex()}"]
        if self.requested:
            words += ["-r", str(self.requested)]
        return [*words, "-t", "3", "-T", str(RETRY_SECONDS), "-A", str(ROUND_PAUSE_SECONDS)]


@dataclass(slots=True)
class Records:
    """Puts events together from the bytes of a pipe."""

    _pending: bytes = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that `data` completes; records that are no event of udhcpc's are logged and dropped."""
        *records, self._pending = (self._pending + data).split(b"\0\0")
        for record in records:
            name, *fields = record.decode("utf-8", "replace").split("\0")
            if name in EventKind.__members__.values():
                yield Event(EventKind(name), dict(f.partition("=")[::2] for f in fields))
            else:
                log.warning("udhcpc's script reported an unknown event %r", name[:40])


class Client:
    """A running udhcpc in the current network namespace. `events` and `errors` are descriptors to be waited on."""

    def __init__(self, options: ClientOptions) -> None:
        """Starts it. Raises OSError where busybox is missing."""
        busybox = shutil.which("busybox")
        if busybox is None:
            raise FileNotFoundError("busybox, which brings udhcpc, is not installed")
        self._process = subprocess.Popen(
            ["busybox", *options.arguments()],
            executable=busybox,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},  # the script inherits it, so nothing foreign may stand in it
            # The next udhcpc for this endpoint would compete with one that outlives its worker.
            preexec_fn=partial(follow_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509  there is one thread
        )
        assert self._process.stdout
        assert self._process.stderr
        self.events = self._process.stdout.fileno()
        self.errors = self._process.stderr.fileno()
        os.set_blocking(self.events, False)
        os.set_blocking(self.errors, False)
        self.last_words = ""
        self._records = Records()
        self._begun = False
        self._log_rest = b""

    @property
    def pid(self) -> int:
        """Of the udhcpc process."""
        return self._process.pid

    def read_events(self) -> list[Event] | None:
        """What has happened since the last call; None when udhcpc has ended.

        Each udhcpc begins with a DECONFIG, before any packet, which says nothing.
        """
        data = _read(self.events)
        if data is None:
            return None
        events = list(self._records.feed(data))
        begins, self._begun = bool(events) and not self._begun, self._begun or bool(events)
        return events[1:] if begins else events

    def read_log(self) -> bool:
        """Takes in udhcpc's own log; False when udhcpc has ended."""
        data = _read(self.errors)
        *lines, self._log_rest = (self._log_rest + (data or b"")).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").removeprefix("udhcpc: ")
            self.last_words = text
            log.debug("udhcpc[%d] %s", self.pid, text)
        return data is not None

    def renew(self) -> None:
        """Before its time."""
        self._process.send_signal(signal.SIGUSR1)

    def stop(self) -> int:
        """Ends it without a DHCPRELEASE (SIGTERM without -R) and gives its exit status."""
        self._process.send_signal(signal.SIGTERM)
        if not self._ends_within(STOP_SECONDS):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
        return self._process.returncode

    def _ends_within(self, seconds: float) -> bool:
        """By its pidfd; `Popen.wait` with a time looks again and again, ever more rarely."""
        if self._process.poll() is not None:
            return True
        pidfd = os.pidfd_open(self._process.pid)
        try:
            return bool(wait([pidfd], seconds))
        finally:
            os.close(pidfd)


def _read(descriptor: int) -> bytes | None:
    """What is there, b"" for nothing yet, None for end of file."""
    try:
        return os.read(descriptor, READ_BYTES) or None
    except BlockingIOError:
        return b""
