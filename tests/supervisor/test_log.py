"""The log: one line a record, whatever the text holds."""

import json
import logging
import os
import select
import shlex
import subprocess
import sys

import pytest

from supervisor.log import LogfmtFormatter, Output

LINES = 1000


def _line(message: str, *arguments: object, **extra: object) -> str:
    record = logging.LogRecord("supervisor.test", logging.WARNING, __file__, 1, message, arguments, None)
    record.__dict__.update(extra)
    return LogfmtFormatter().format(record)


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "two words",
        "",
        'with "quotes"',
        "a=b",
        "line\nfeed",
        "carriage\r\nreturn",
        "\x1b[31mred\x07\x00",
        "back\\slash",
        "\u2028line separator",
        "höst",
        "\ud800 alone",
        "msg=x level=error",
    ],
)
def test_one_line(text: str) -> None:
    """Any text stays in its line, in ASCII, and is read back as it was; it cannot add words of its own."""
    line = _line("%s", text)
    assert line.isascii()
    assert line.isprintable()
    value = line.partition(" msg=")[2]
    assert (json.loads(value) if value.startswith('"') else value) == text
    assert value.startswith('"') or not set(value) & set(' ="')


def test_words() -> None:
    """Time, level, source and process come first, then the text, then the fields that the record has, ids cut."""
    line = _line("attached", network="n" * 64, endpoint="e" * 64, interface="eth0", ms=1.5, other="unseen")
    words = dict(word.partition("=")[::2] for word in shlex.split(line))
    assert list(words) == ["time", "level", "source", "pid", "msg", "network", "endpoint", "interface", "ms"]
    assert words["level"] == "warning"
    assert words["source"] == "supervisor.test"
    assert words["network"] == "n" * 12
    assert words["endpoint"] == "e" * 12
    assert words["ms"] == "1.5"


def test_length() -> None:
    """A line has an end, whoever chose the names in it."""
    line = _line("%s", "\x1b" * 10_000, container="\x1b" * 10_000, interface="a" * 10_000)
    assert line.isprintable()
    assert len(line) < 20_000


def test_absent_field() -> None:
    """A field whose value is not known is left out."""
    assert "container" not in _line("attached", container=None)


def test_exception() -> None:
    """A traceback is a word of the same line."""
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        line = LogfmtFormatter().format(
            logging.LogRecord("supervisor.test", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
        )
    assert "\n" not in line
    assert "first\\nsecond" in line


@pytest.mark.parametrize("text", ["x" * 20_000, "\0" * 20_000, "two words " * 2_000, "x" * 4_000])
def test_long_line(text: str) -> None:
    """It fits into one write, which the kernel neither splits nor mixes with others, with both ends of a traceback."""
    try:
        raise ValueError(f"{text} last")
    except ValueError:
        words = (text, (), sys.exc_info())
        record = logging.LogRecord("supervisor.test", logging.ERROR, __file__, 1, *words)
    record.container = "\0" * 5_000
    line = LogfmtFormatter().format(record)
    assert len(line) < select.PIPE_BUF
    found = dict(word.partition("=")[::2] for word in shlex.split(line))
    assert list(found) == ["time", "level", "source", "pid", "msg", "container", "exception"]
    assert found["exception"].startswith("Traceback")
    assert found["exception"].endswith(" last")


WRITING = """
import logging, os
from supervisor import log
log.configure("INFO")
for number in range(4):
    if os.fork() == 0:
        for _ in range(200):
            try:
                raise ValueError(str(number) * 6000 + " end")
            except ValueError:
                logging.getLogger("test").exception("begin")
        os._exit(0)
for _ in range(4):
    os.wait()
"""


def test_many_write_long_lines() -> None:
    """Lines of several processes are never torn, however long they would be and however slowly they are read."""
    with subprocess.Popen([sys.executable, "-c", WRITING], stdout=subprocess.PIPE, text=True) as writers:
        assert writers.stdout is not None
        lines = writers.stdout.readlines()
    assert len(lines) >= 4
    for line in lines:
        assert line.count("time=") == 1
        assert line.startswith("time=")
        assert line.endswith((' end"\n', 'nobody read the log"\n'))


def test_nobody_reads() -> None:
    """Whoever logs goes on when the pipe is full, and its reader learns later how much it has missed."""
    reader, writer = os.pipe()
    other = os.dup(writer)
    log = logging.getLogger("supervisor.log")
    output = Output(writer)
    log.addHandler(output)
    try:
        for number in range(LINES):
            log.error("%d %s", number, "x" * 250)
        received = os.read(reader, LINES * 300)
        log.error("back")
        after = os.read(reader, LINES * 300)
    finally:
        log.removeHandler(output)
        os.close(reader)
    lost = LINES - received.count(b"\n")
    assert lost > 0
    assert after.decode() == f"back\n{lost} lines lost, because nobody read the log\n"
    assert os.get_blocking(other)
    os.close(writer)
    os.close(other)


SPEAKING = """
import contextlib, gc, sys, threading, warnings
from supervisor import log
log.configure("INFO")

class Unhappy:
    def __del__(self):
        raise ValueError("in the end")

def failing():
    raise ValueError("in a thread")

Unhappy()
thread = threading.Thread(target=failing)
thread.start()
thread.join()
warnings.warn("be careful")
with contextlib.suppress(BlockingIOError):  # Python 3.13 says that nobody reads
    print("x" * 1_000_000, file=sys.stderr)
raise KeyError("and out")
"""


def test_interpreter_speaks() -> None:
    """What Python would print on standard error is in the log, and no process waits at a full pipe for its reader."""
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "wb") as full:
        command = [sys.executable, "-c", SPEAKING]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True, timeout=60, check=False)

    assert done.returncode in (1, 120)  # Python 3.13 tells that the full pipe took nothing at the end
    levels = [line.split()[1] for line in done.stdout.splitlines()]
    assert levels == ["level=error", "level=error", "level=warning", "level=critical"]
    for text in ("in the end", "in a thread", "be careful", "and out"):
        assert text in done.stdout
