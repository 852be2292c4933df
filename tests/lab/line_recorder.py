"""Runs at the start of the shipped interpreter, for tests.lab.lines.

A line's first run sets its byte in a file that all processes map, after which the interpreter does not tell of the line
any more, nor do the processes that are forked later. So it does not matter how a process ends.
"""

import os
import sys
from mmap import mmap
from types import CodeType

_HERE = "/run/lines"


if sys.version_info >= (3, 13):  # the one that ships

    def _record() -> None:
        told, tool, events = sys.monitoring.DISABLE, sys.monitoring.COVERAGE_ID, sys.monitoring.events
        with open(f"{_HERE}/index") as index:  # noqa: PTH123  pathlib would be loaded before the plugin loads it
            starts = {path: int(start) for path, start in map(str.split, index)}
        descriptor = os.open(f"{_HERE}/ran", os.O_RDWR | os.O_CLOEXEC)
        ran = mmap(descriptor, 0, trackfd=False)
        os.close(descriptor)

        def on_line(code: CodeType, number: int) -> object:
            ran[starts[code.co_filename] + number] = 1
            return told

        def on_start(code: CodeType, _: int) -> object:
            if code.co_filename in starts:
                sys.monitoring.set_local_events(tool, code, events.LINE)
            return told

        sys.monitoring.use_tool_id(tool, "lines")
        sys.monitoring.register_callback(tool, events.LINE, on_line)
        sys.monitoring.register_callback(tool, events.PY_START, on_start)
        sys.monitoring.set_events(tool, events.PY_START)

    _record()
