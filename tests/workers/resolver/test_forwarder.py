"""The forwarder's bounds; what it answers is tested in a container's network namespace (tests/netns)."""

import select
import socket
from contextlib import closing

from workers.resolver.forwarder import EMBEDDED, MAX_PACKETS, Forwarder


def test_flood_of_questions() -> None:
    """A container that asks without end gets its worker's attention for a bounded number of questions at a time."""
    with closing(Forwarder(["127.0.0.1"])) as forwarder, socket.socket(type=socket.SOCK_DGRAM) as client:
        for _ in range(MAX_PACKETS + 1):
            client.sendto(b"?", (str(EMBEDDED), forwarder.port))
        ((number, read),) = forwarder.sources().items()
        read()
        assert select.select([number], [], [], 0)[0]
        read()
        assert not select.select([number], [], [], 0)[0]
