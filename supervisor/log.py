"""One line a phase on standard output: `key=value` words that people read and programs split (logfmt)."""

import json
import logging
import os
import re
import select
import sys
import threading
import warnings
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2
FIELDS = ("network", "endpoint", "container", "interface", "ms")
SHORT_IDS = ("network", "endpoint")
SHORT_ID_LENGTH = 12  # as docker prints them
MAX_FIELD = 255  # a container's name has no limit
MAX_MESSAGE = 2000
LINE_LENGTH = select.PIPE_BUF - 1  # ASCII; the kernel mixes longer writes of several processes, or takes a part only
PLAIN = re.compile(r"[!#-<>-~]+")  # printable ASCII but for blanks, quotes and equals signs
FOREIGN = ("asyncio", "docker", "pyroute2", "urllib3")  # their DEBUG is hundreds of lines for each endpoint

# The docker SDK's requests says so at each start: the image has no such package, as engines answer in UTF-8.
NEEDLESS = "Unable to find acceptable character detection dependency"

log = logging.getLogger(__name__)


class LogfmtFormatter(logging.Formatter):
    """Time, level, process and message, then the FIELDS that the record has."""

    def format(self, record: logging.LogRecord) -> str:
        words = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "source": record.name,
            "pid": record.process,
            "msg": record.getMessage()[:MAX_MESSAGE],
        }
        for name in FIELDS:
            value = getattr(record, name, None)
            if value is not None:
                words[name] = str(value)[: SHORT_ID_LENGTH if name in SHORT_IDS else MAX_FIELD]
        if record.exc_info:
            words["exception"] = self.formatException(record.exc_info)
        return _line({name: str(value) for name, value in words.items()})


def _line(words: dict[str, str]) -> str:
    """The words as one line that fits into a single write; a line that is too long loses its middle."""
    while len(line := " ".join(f"{name}={_quoted(value)}" for name, value in words.items())) > LINE_LENGTH:
        longest = max(words, key=lambda name: len(words[name]))
        kept = len(words[longest]) * 3 // 8
        words[longest] = f"{words[longest][:kept]} [...] {words[longest][-kept:]}"
    return line


def _quoted(text: str) -> str:
    """A plain word as it is, any other value as a JSON string, so that a line stays one line."""
    return text if PLAIN.fullmatch(text) else json.dumps(text)


class Output(logging.Handler):
    """Writes without ever waiting for the reader.

    dockerd reads the log. With live-restore it may be away for hours: once the pipe is full, each process that logs
    would wait for it, and leases would run out. A line that finds no room is lost, and counted.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._lost = 0
        self._descriptor = descriptor
        _never_wait(descriptor)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record, or counts it as lost."""
        try:
            os.write(self._descriptor, f"{self.format(record)}\n".encode("ascii", "backslashreplace"))
        except OSError:
            self._lost += 1  # no room, or the reader has gone
            return
        except Exception:  # noqa: BLE001  like the standard handlers: a wrong format must not end a process
            self.handleError(record)
        if self._lost:
            lost, self._lost = self._lost, 0
            log.warning("%d lines lost, because nobody read the log", lost)


def _never_wait(descriptor: int) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
    with suppress(OSError):  # a socket, which cannot be opened
        own = os.open(f"/proc/self/fd/{descriptor}", flags)  # so that other processes' descriptors stay as they are
        os.dup2(own, descriptor)
        os.close(own)


def configure(level: str) -> None:
    """Sets logging up for this process and all that it forks; an unknown level becomes INFO.

    Warnings and uncaught errors of the interpreter are logged as well. Writing to standard error never waits either.
    """
    _never_wait(STANDARD_ERROR)
    handler = Output(STANDARD_OUTPUT)
    handler.setFormatter(LogfmtFormatter())
    logging.basicConfig(level=logging.getLevelNamesMapping().get(level.upper(), logging.INFO), handlers=[handler])
    for name in FOREIGN:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", NEEDLESS)
    sys.excepthook = _on_uncaught
    sys.unraisablehook = lambda ignored: log.error("ignored in %r", ignored.object, exc_info=ignored.exc_value)
    threading.excepthook = lambda end: log.error("a thread has ended", exc_info=end.exc_value)


def _on_uncaught(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    log.critical("the process ends", exc_info=(kind, error, at))
