"""What a process costs that only waits: Python forked from the supervisor, before and after its work, and a udhcpc.

For the plugin's own interpreter, which reads it from standard input; docs/performance.md has the command.
"""

import gc
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import supervisor.core
from workers.lease import boottime
from workers.netlink import Netlink
from workers.parse import parse_lease

COUNT = 50
SETTLE_SECONDS = 0.5
ACK = {"ip": "192.168.77.150", "subnet": "255.255.255.0", "router": "192.168.77.1", "lease": "120"}
UDHCPC = ["/usr/bin/busybox", "udhcpc", "-f", "-i", "lo", "-s", "/bin/true", "-t", "100", "-T", "100"]


def work() -> None:
    """About what a renewal takes: the answer is parsed, the links are listed."""
    parse_lease(ACK | {"serverid": "192.168.77.1"}, boottime())
    with Netlink() as netlink:
        netlink.links()


def added(alone: int, pids: list[int]) -> float:
    """MB of PSS that each of these takes, less what this process, which had `alone` kB, now shares with them."""
    shared = alone - _pss(os.getpid())
    return (sum(map(_pss, pids)) - shared) / len(pids) / 1024


def _pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def forked(alone: int, act: Callable[[], None]) -> float:
    """Of processes that have done this and sleep."""
    reader, writer = os.pipe()
    pids = []
    for _ in range(COUNT):
        pid = os.fork()
        if pid == 0:
            os.close(writer)
            gc.freeze()
            act()
            os.read(reader, 1)
            os._exit(0)
        pids.append(pid)
    time.sleep(SETTLE_SECONDS)
    result = added(alone, pids)
    os.close(writer)
    os.close(reader)
    for pid in pids:
        os.waitpid(pid, 0)
    return result


def udhcpcs(alone: int) -> float:
    """Of clients that wait for an answer."""
    clients = [subprocess.Popen(UDHCPC, stderr=subprocess.DEVNULL) for _ in range(COUNT)]
    time.sleep(SETTLE_SECONDS)
    result = added(alone, [client.pid for client in clients])
    for client in clients:
        client.kill()
        client.wait()
    return result


def woken() -> float:
    """Milliseconds from the fork to the end of a process that does the work."""
    began = time.perf_counter()
    for _ in range(COUNT):
        pid = os.fork()
        if pid == 0:
            gc.freeze()
            work()
            os._exit(0)
        os.waitpid(pid, 0)
    return (time.perf_counter() - began) * 1000 / COUNT


def main() -> None:
    """A line each."""
    gc.freeze()
    alone = _pss(os.getpid())
    print(f"of {COUNT} processes each, with {supervisor.core.__name__} loaded before the fork:")
    print(f"Python that has done nothing: {forked(alone, lambda: None):.2f} MB")
    print(f"Python that has done one renewal's work: {forked(alone, work):.2f} MB")
    print(f"udhcpc: {udhcpcs(alone):.2f} MB")
    print(f"a fork for one renewal's work: {woken():.1f} ms")


if __name__ == "__main__":
    main()
