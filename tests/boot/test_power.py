"""The power fails, and comes back: no container loses its lease, its address or its MAC address.

CUTS is how many times it fails, SEED what the moments are drawn from. What the machine has not flushed to its disk by
then is lost.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from random import Random
from subprocess import DEVNULL, Popen
from threading import Event, Thread

import pytest

from tests.boot.members import ALWAYS, NETWORK, Members, place_of
from tests.lab.command import wait_until
from tests.lab.containers import Container, showing_ports
from tests.lab.dhcp import Ipv6Options, ServerOptions
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.machine import Machine

CUTS = int(os.environ.get("CUTS") or "10")
SEED = int(os.environ.get("SEED") or "1")
MEMBERS = 3
LEASES = ServerOptions(lease_time=120, ipv6=Ipv6Options())  # renewed each minute
BUSY = "busy"
AT_WORK_SECONDS = (5, 80)
IN_A_BOOT_SECONDS = (0, 25)
STARTING = "first lease"


@pytest.mark.timeout(600 + 900 * CUTS)
def test_power_cuts(lab: Lab, machine: Machine, members: Members) -> None:
    """Cuts while containers start, stop and renew, each other one followed by a cut in the middle of the boot: all that
    ran come back, without a word to the server but requests for their leases."""
    random = Random(SEED)  # noqa: S311  (a run that can be repeated)
    lab.dhcp.start(LEASES)
    members.launch(MEMBERS)
    ports = ("--expose=9000", *showing_ports(machine.docker))
    busy = place_of(Container.run(machine.docker, BUSY, f"--network={NETWORK}", *ports, ALWAYS))
    for number in range(1, CUTS + 1):
        members.begin()
        with work(machine.docker):
            time.sleep(random.uniform(*AT_WORK_SECONDS))
            told = f"cut {number}: {machine.cut()}"
        began = time.monotonic()
        machine.switch_on()
        if number % 2 == 0:
            wait_until(lambda: STARTING in machine.console, "the first container of the boot", 60)
            time.sleep(random.uniform(*IN_A_BOOT_SECONDS))
            told = f"{told}, in the boot {machine.cut()}"
            machine.switch_on()
        machine.wait()
        members.await_running()
        print(f"{told}, all run after {time.monotonic() - began:.0f} s", flush=True)
        members.await_acknowledged()
        members.assert_kept()
        machine.docker("start", BUSY)
        assert place_of(Container(machine.docker, BUSY)).mac == busy.mac
    machine.docker("rm", "--force", BUSY)
    members.remove()


@pytest.mark.timeout(1800)
def test_server_that_comes_late(lab: Lab, machine: Machine, members: Members) -> None:
    """The leases have run out, and the server comes only when all containers run: on the addresses that they had, which
    it grants again."""
    lab.dhcp.start(LEASES)
    members.launch(MEMBERS)
    lab.dhcp.stop()
    machine.cut()
    wait_until(lambda: all(lease.expires < time.time() for lease in lab.dhcp.leases()), "the end of the leases", 60)
    members.begin()

    machine.switch_on()
    machine.wait()
    members.await_running()
    lab.dhcp.start(LEASES)

    members.await_acknowledged()
    members.assert_kept()
    members.remove()


@contextmanager
def work(docker: Docker) -> Iterator[None]:
    """For as long as the block lasts, a user restarts one container, and runs others that live for a moment."""
    enough = Event()
    commands = ("restart", "--time=0", BUSY), ("run", "--rm", f"--network={NETWORK}", BUSYBOX, "true")

    def use() -> None:
        for command in cycle(commands):
            with Popen(docker.argv(*command), stdout=DEVNULL, stderr=DEVNULL) as process:
                while process.poll() is None and not enough.wait(0.1):
                    pass
                process.kill()  # where the power has failed, no answer comes
            if enough.is_set():
                return

    user = Thread(target=use)
    user.start()
    try:
        yield
    finally:
        enough.set()
        user.join()
