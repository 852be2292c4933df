"""Waiting for descriptors."""

import os

from workers.system.poll import ready


def test_ready() -> None:
    """Those with something to read, those whose other end has gone, and none when the time is over."""
    pipes = [os.pipe() for _ in range(3)]
    readers = [reader for reader, _ in pipes]
    assert ready(readers, 0) == []
    os.write(pipes[0][1], b"x")
    os.close(pipes[2][1])
    assert ready(readers) == [readers[0], readers[2]]
    assert ready(readers[1:2], 0.01) == []
    for number in (*readers, pipes[0][1], pipes[1][1]):
        os.close(number)
