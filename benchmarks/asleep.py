"""What a process costs that only waits: a worker between its turns, Python that has done nothing, and a udhcpc.

For the plugin's own interpreter, which reads it from standard input; docs/performance.md has the command.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import supervisor.core
from supervisor.runtime.forkserver import forks, order, serve
from supervisor.runtime.shared_memory import share_objects
from workers.contract.lease import Family, Lease
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import Begin, EndpointSpec, LeaveSandbox, Resume
from workers.entry.warm_up import warm_up
from workers.system.clock import boottime
from workers.system.libc import adopt_orphans

BR0 = LinkSpec(LinkKind.BRIDGE, "br0")
COUNT, TURNS = 50, 10
SETTLE_SECONDS = 0.5
QUIET_SECONDS = 1.2  # a turn lasts a little less
LEASE = Lease(IPv4Interface("192.0.2.2/24"), IPv4Address("192.0.2.1"), None, boottime())
UDHCPC = ["/usr/bin/busybox", "udhcpc", "-f", "-i", "lo", "-s", "/bin/true", "-t", "100", "-T", "100"]
TICKS = os.sysconf("SC_CLK_TCK")


def added(alone: int, pids: list[int]) -> float:
    """MB of PSS that each of these takes, less what this process, which had `alone` kB, now shares with them."""
    shared = alone - _pss(os.getpid())
    return (sum(map(_pss, pids)) - shared) * 1024 / len(pids) / 1e6


def _pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _milliseconds(pid: int) -> float:
    """Of the processor, with all children that have ended (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * 1000 / TICKS


def idle(alone: int) -> float:
    """Of forks that sleep."""
    reader, writer = os.pipe()
    pids = []
    for _ in range(COUNT):
        pid = os.fork()
        if pid == 0:
            os.close(writer)
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


@contextmanager
def forkserver() -> Iterator[socket.socket]:
    """As the supervisor has one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        serve(theirs)
        os._exit(0)
    theirs.close()
    with ours:
        yield ours
    os.waitpid(pid, 0)


def worker(orders: socket.socket, number: int) -> tuple[int, Connection]:
    """One that goes on with a lease."""
    ours, theirs = Pipe()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, near, far:
        order(orders, number, [theirs.fileno(), near.fileno(), far.fileno()])
    pid = None
    while pid is None:
        pid = dict(forks(orders)).get(number)
    ours.send(
        Begin(
            EndpointSpec("n" * 64, f"{number:064x}", BR0, "02:00:00:00:00:01", 10),
            Resume((LEASE,), frozenset({Family.IPV4})),
        )
    )
    return pid, ours


def workers(alone: int) -> None:
    """Prints what they take after their first turn and after others, and what a turn costs."""
    with forkserver() as orders:
        all_of_them = [worker(orders, number) for number in range(COUNT)]
        pids = [pid for pid, _ in all_of_them]
        time.sleep(QUIET_SECONDS + SETTLE_SECONDS)
        print(f"a worker that sleeps: {added(alone, pids):.2f} MB")
        before = sum(map(_milliseconds, pids))
        for _ in range(TURNS):
            for _, channel in all_of_them:
                channel.send(LeaveSandbox(keep=True))
            time.sleep(QUIET_SECONDS + SETTLE_SECONDS)
        print(f"the same after {TURNS} more turns: {added(alone, pids):.2f} MB")
        print(f"a turn: {(sum(map(_milliseconds, pids)) - before) / TURNS / COUNT:.1f} ms of the processor")
        for pid, channel in all_of_them:
            channel.close()
            os.waitpid(pid, 0)


def main() -> None:
    """A line each."""
    adopt_orphans()
    warm_up()
    share_objects()
    alone = _pss(os.getpid())
    print(f"of {COUNT} processes each, with {supervisor.core.__name__} loaded before the fork:")
    print(f"Python that has done nothing: {idle(alone):.2f} MB")
    print(f"udhcpc: {udhcpcs(alone):.2f} MB")
    sys.stdout.flush()
    workers(alone)


if __name__ == "__main__":
    main()
