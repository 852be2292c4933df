"""The containers of a run, and what users do with them."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from signal import SIGKILL

from tests.lab.command import CommandFailed, wait_until
from tests.lab.containers import Container
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.soak.diary import Diary
from tests.soak.records import Op

NETWORK = "lan"
RENAMED = "renamed0"
LONGEST_STAY = 8.0  # seconds for which a container stays stopped or paused
AGAIN_TIMEOUT = 60.0  # seconds
RETURN_TIMEOUT = 20.0  # seconds; the engine does not try again where a start fails
KINDS = ("plain", "named", "id", "mac")
FORGETS_MACS = 25  # the engine from which on a container that is disconnected loses a MAC of the user's
# An engine that is killed within a start finds its containerd's task of that start in its way for ever, or takes it for
# a container that runs, and finds no sandbox of it; and one that is killed within a removal finds a container that it
# neither starts nor removes by itself.
ENGINES_REMNANTS = ("already exists", "network sandbox for container", "marked for removal")


@dataclass(slots=True)
class Member:
    """A container by its number, from which all of its options follow. One thread at a time handles it.

    `forgotten`: the engine does not know the MAC of the user's choice any more.
    """

    number: int
    docker: Docker
    diary: Diary
    life: int = 0
    forgotten: bool = False

    @property
    def kind(self) -> str:
        """How it is told from others: by nothing, by its host name, by an id, by a MAC of the user's choice."""
        return KINDS[self.number % len(KINDS)]

    @property
    def name(self) -> str:
        """As `docker ps` has it."""
        return f"{self.kind}-{self.number}"

    @property
    def mac(self) -> str:
        """The user's choice."""
        return f"02:00:5e:00:54:{self.number:02x}"

    @property
    def container(self) -> Container:
        """It."""
        return Container(self.docker, self.name)

    @property
    def returns(self) -> bool:
        """Has it a restart policy?"""
        return self.number // len(KINDS) % 2 == 0

    def run(self) -> None:
        """Make it."""
        self.life += 1
        self.forgotten = False
        network = f"name={NETWORK},driver-opt=id={self.name}" if self.kind == "id" else NETWORK
        options = [f"--network={network}", "--cap-add=NET_ADMIN"]
        options += ["--restart=always"] if self.returns else []
        options += [f"--hostname={self.name}"] if self.kind == "named" else []
        options += [f"--mac-address={self.mac}"] if self.kind == "mac" else []
        Container.run(self.docker, self.name, *options, image=BUSYBOX)
        self.arrive()

    def arrive(self) -> None:
        """It has to be on the LAN, with the MAC that the engine names."""
        mac = self.container.attachment(NETWORK).mac
        pinned = self.kind == "id" or (self.kind == "mac" and not self.forgotten)
        self.diary.arrive(self.name, mac, self.life, pinned=pinned)

    def remove(self) -> None:
        """It gives its lease back."""
        self.diary.leave(self.name)
        self.container.remove()

    def restart(self, _roll: float) -> None:
        """One command."""
        self.diary.leave(self.name)
        self.docker("restart", "--time=1", self.name)
        self.arrive()

    def stop_start(self, roll: float) -> None:
        """With some time in between."""
        self.diary.leave(self.name)
        self.docker("stop", "--time=1", self.name)
        time.sleep(roll * LONGEST_STAY)
        self.docker("start", self.name)
        self.arrive()

    def remove_run(self, _roll: float) -> None:
        """To Docker it is another one afterwards."""
        self.remove()
        self.run()

    def reconnect(self, _roll: float) -> None:
        """While it runs, so that the plugin cannot know which container it is."""
        self.life += 1
        self.diary.leave(self.name)
        self.docker("network", "disconnect", NETWORK, self.name)
        self._connect()
        self.arrive()

    def pause(self, roll: float) -> None:
        """It goes on having its lease."""
        self.docker("pause", self.name)
        time.sleep(roll * LONGEST_STAY)
        self.docker("unpause", self.name)

    def rename(self, _roll: float) -> None:
        """Its interface, from inside, and back; the kernel allows it while the interface is up (Linux 6.2)."""
        (interface,) = [i for i in self.container.exec("ls", "/sys/class/net").split() if i != "lo"]
        for before, after in ((interface, RENAMED), (RENAMED, interface)):
            self.docker("exec", self.name, "ip", "link", "set", before, "name", after)
            time.sleep(1)

    def die(self, _roll: float) -> None:
        """Its process; the engine starts it again, if that is its policy."""
        if not self.returns:
            return self.restart(_roll)
        before = int(self.container.inspect()["State"]["Pid"])
        self.diary.leave(self.name)
        os.kill(before, SIGKILL)
        wait_until(lambda: self._runs_anew(before), f"another life of {self.name}", RETURN_TIMEOUT, interval=0.2)
        return self.arrive()

    def again(self) -> None:
        """From whatever state a failed operation has left it in."""
        if not self._exists():
            return self.run()
        try:
            self._bring_back()
        except CommandFailed as error:
            if not any(remnant in str(error) for remnant in ENGINES_REMNANTS):
                raise
            self.remove()
            return self.run()
        if self.name not in self.diary.open:
            self.arrive()
        return None

    def _bring_back(self) -> None:
        state = self.container.inspect()["State"]
        if state["Paused"]:
            self.docker("unpause", self.name)
        elif not state["Running"]:
            self.docker("start", self.name)
        if not self._attached():
            with suppress(CommandFailed):  # the engine may go on naming the network after a connect that failed
                self.docker("network", "disconnect", "--force", NETWORK, self.name)
            self._connect()

    def _attached(self) -> bool:
        """By an interface as well: the engine goes on naming an endpoint whose Join was refused."""
        networks = self.container.inspect()["NetworkSettings"]["Networks"]
        named = NETWORK in networks and networks[NETWORK]["EndpointID"]
        return bool(named and self.container.exec("ls", "/sys/class/net").split() != ["lo"])

    def _connect(self) -> None:
        self.forgotten |= self.docker.release >= FORGETS_MACS
        option = [f"--driver-opt=id={self.name}"] if self.kind == "id" else []
        self.docker("network", "connect", *option, NETWORK, self.name)

    def _exists(self) -> bool:
        return bool(self.docker("ps", "--all", "--quiet", f"--filter=name=^{self.name}$"))

    def _runs_anew(self, before: int) -> bool:
        with suppress(CommandFailed):  # the engine is being started, too
            state = self.container.inspect()["State"]
            return bool(state["Running"]) and state["Pid"] not in (0, before)
        return False


OPERATIONS: dict[Op, Callable[[Member, float], None]] = {
    Op.RESTART: Member.restart,
    Op.STOP_START: Member.stop_start,
    Op.REMOVE_RUN: Member.remove_run,
    Op.RECONNECT: Member.reconnect,
    Op.PAUSE: Member.pause,
    Op.RENAME: Member.rename,
    Op.DIE: Member.die,
    Op.RUN: lambda member, _: member.run(),
    Op.AGAIN: lambda member, _: member.again(),
}
