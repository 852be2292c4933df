"""What a container's questions of names are answered, on a real kernel; servers and Docker's resolver are played."""

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.netns.lan import run
from workers.contract.messages import UseResolver
from workers.entry.handover import MAX_STATE_BYTES, pack, unpack
from workers.resolver import forwarder
from workers.resolver.forwarder import DOCKERS_SECONDS, MAX_ANSWER, MAX_KEPT, RETRY_SECONDS
from workers.resolver.resolver import Resolver
from workers.system.clock import boottime
from workers.system.namespaces import new_namespace

pytestmark = pytest.mark.netns

SERVER, SECOND = ip_address("127.0.1.1"), ip_address("127.0.1.2")
OWN = ip_address("192.0.2.10")
WEB, MAIL = "a" * 64, "b" * 64
TEXT = "nameserver 127.0.0.11\noptions ndots:0\n"
DOCKER = "iptables-{kind} -t nat -A OUTPUT -d 127.0.0.11 -p udp --dport 53 -j DNAT --to-destination 127.0.0.11:5300"
FOUND, UNKNOWN, FAILED = 0, 3, 2
PATIENCE, MOMENT = 10.0, 0.2  # seconds in which an answer comes, and in which it is seen that none comes
NEVER = 1000.0


class Played:
    """A name server that knows what the test says: a code for each name, None for silence; else UNKNOWN."""

    def __init__(self, address: str, port: int = 53) -> None:
        self.names: dict[str, int | None] = {}
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self._last = int(address.rpartition(".")[2])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            packet, client = self._socket.recvfrom(4096)
            if not packet:
                return
            name = name_of(packet)
            self.asked.append(name)
            code = self.names.get(name, UNKNOWN)
            if code is not None:
                flags = bytes([0x81, 0x80 | code])
                self._socket.sendto(packet[:2] + flags + packet[4:] + bytes([self._last]), client)

    def close(self) -> None:
        """Ends it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


def question(name: str, number: int = 7) -> bytes:
    """A question of a name's address."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HBB4H", number, 1, 0, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def name_of(packet: bytes) -> str:
    """What is asked for."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels)


class Lan:
    """Docker's resolver and two servers."""

    def __init__(self) -> None:
        self.docker = Played("127.0.0.11", 5300)
        self.server, self.second = Played(str(SERVER)), Played(str(SECOND))
        self.now: float | None = None

    def clock(self) -> float:
        """`boottime()` as the forwarder has it: the true one, unless a test says what it is."""
        return boottime() if self.now is None else self.now

    def close(self) -> None:
        """Ends all."""
        for one in (self.docker, self.server, self.second):
            one.close()

    def ask(self, name: str, resolver: Resolver | None = None, seconds: float = PATIENCE) -> tuple[int, int] | None:
        """The code, and the last octet of the address of whoever answered a question to 127.0.0.11 in that time."""
        with client() as one:
            one.send(question(name))
            return self.answered(one, resolver, seconds)

    def answered(
        self, one: socket.socket, resolver: Resolver | None, seconds: float = PATIENCE
    ) -> tuple[int, int] | None:
        """What this client is told, while the resolver is served as by a worker: when it wants to be, no sooner."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            served = resolver.forwarder if resolver else None
            sources = served.sources() if served else {}
            at = served.next_at if served else None
            due_in = left if at is None else at - self.clock()
            for number in select.select([one.fileno(), *sources], [], [], max(0, min(left, due_in)))[0]:
                if number == one.fileno():
                    packet = one.recv(4096)
                    assert packet[:2] == b"\0\7"
                    return packet[3] & 15, packet[-1]
                sources[number]()
            if served and at is not None and at <= self.clock():
                served.due(self.clock())
        return None


def client() -> socket.socket:
    """A container's, which asks 127.0.0.11."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.connect(("127.0.0.11", 53))
    return made


@pytest.fixture(name="lan", params=["legacy", "nft"])
def _lan(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lan]:
    """A sandbox in which Docker's own rules were made by this iptables. All silence is awaited for ever."""
    for wait in ("DOCKERS_SECONDS", "RETRY_SECONDS", "GIVE_UP_SECONDS"):
        monkeypatch.setattr(forwarder, wait, NEVER)
    with new_namespace() as sandbox, sandbox.visit():
        run("ip link set lo up")
        run(DOCKER.format(kind=request.param))
        lan = Lan()
        monkeypatch.setattr(forwarder, "boottime", lan.clock)
        yield lan
        lan.close()


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """The container's resolv.conf."""
    path = tmp_path / "resolv.conf"
    path.write_text(TEXT)
    return path


def resolver(path: Path, endpoint: str = WEB) -> Resolver:
    """Of an endpoint of the container with this file."""
    return Resolver(endpoint, UseResolver(str(path), search=True))


def test_who_answers(lan: Lan, path: Path) -> None:
    """Docker's resolver for names without a dot, the LAN's server for others, and either for what only it knows."""
    lan.docker.names = dict.fromkeys(("web", "both", "both.lan", "my.app"), FOUND)
    lan.server.names = dict.fromkeys(("printer.lan", "printer", "both", "both.lan"), FOUND)
    one = resolver(path)
    one.follow([OWN], [SERVER], ["lan"])

    assert lan.ask("web", one) == lan.ask("both", one) == (FOUND, 11)
    assert lan.ask("printer.lan", one) == lan.ask("printer", one) == lan.ask("both.lan", one) == (FOUND, 1)
    assert lan.ask("my.app", one) == (FOUND, 11)
    assert lan.ask("nothing.lan", one) == lan.ask("nothing", one) == (UNKNOWN, 1)
    assert "printer.lan" not in lan.docker.asked
    one.undo()


def test_who_is_silent(lan: Lan, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent resolver keeps nobody waiting for the other's answer; after a server that fails comes the next."""
    lan.docker.names = {"web": FOUND, "printer": None}
    lan.server.names = {"web": None, "printer": FOUND, "printer.lan": None, "scanner.lan": FAILED}
    lan.second.names = {"printer.lan": FOUND, "scanner.lan": FOUND}
    one = resolver(path)
    one.follow([OWN], [SERVER, SECOND], ["lan"])

    assert lan.ask("web", one) == (FOUND, 11)
    assert lan.ask("scanner.lan", one) == (FOUND, 2)
    monkeypatch.setattr(forwarder, "DOCKERS_SECONDS", DOCKERS_SECONDS)
    assert lan.ask("printer", one) == (FOUND, 1)
    monkeypatch.setattr(forwarder, "RETRY_SECONDS", RETRY_SECONDS)
    assert lan.ask("printer.lan", one) == (FOUND, 2)
    one.undo()


def test_worker_that_is_late(lan: Lan, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was due while the worker did something else, or slept, is done at its next look, also by another process."""
    lan.now = boottime()
    monkeypatch.setattr(forwarder, "DOCKERS_SECONDS", DOCKERS_SECONDS)
    lan.docker.names["printer"] = None
    one = resolver(path)
    one.follow([OWN], [SERVER], ["lan"])
    with client() as first, client() as second:
        for container in (first, second):
            container.send(question("printer"))
            assert lan.ask("nothing.lan", one) == (UNKNOWN, 1)  # the same server: it has answered the other one as well
            lan.now += DOCKERS_SECONDS / 2
        lan.now += DOCKERS_SECONDS / 2
        assert lan.answered(first, one) == (UNKNOWN, 1)
        lan.now += DOCKERS_SECONDS
        state, numbers = pack(one)
        another = unpack(state, [os.dup(number) for number in numbers], Resolver)
        assert lan.answered(second, another) == (UNKNOWN, 1)
    another.undo()
    one.undo()


def test_question_during_a_renewal(lan: Lan, path: Path) -> None:
    """What is open when the lease names another server is asked of that one; the client need not ask again."""
    lan.server.names["printer.lan"] = None
    lan.second.names["printer.lan"] = FOUND
    one = resolver(path)
    one.follow([OWN], [SERVER], ["lan"])
    with client() as container:
        container.send(question("printer.lan"))
        assert lan.ask("nothing", one) == (UNKNOWN, 1)
        one.follow([OWN], [SECOND], ["lan"])
        assert lan.answered(container, one) == (FOUND, 2)
        container.send(question("printer.lan"))
        assert lan.answered(container, one) == (FOUND, 2)
    one.undo()


def test_life(lan: Lan, path: Path) -> None:
    """A renewal changes the server; a pause leaves Docker's resolver, and an end the file as it was, the same inode."""
    lan.docker.names["printer.lan"] = lan.server.names["printer.lan"] = lan.second.names["printer.lan"] = FOUND
    inode, one = path.stat().st_ino, resolver(path)
    assert lan.ask("printer.lan") == (FOUND, 11)

    one.follow([OWN], [SERVER], ["lan"])
    assert lan.ask("printer.lan", one) == (FOUND, 1)
    assert path.read_text().startswith("search lan\nnameserver 127.0.0.11\n")
    one.follow([OWN], [SECOND], ["attic"])
    assert lan.ask("printer.lan", one) == (FOUND, 2)
    assert path.read_text().startswith("search attic\n")

    one.pause()
    assert lan.ask("printer.lan") == (FOUND, 11)
    successor = resolver(path)
    successor.follow([OWN], [SECOND], ["attic"])
    assert lan.ask("printer.lan", successor) == (FOUND, 2)
    successor.undo()
    successor.undo()
    assert lan.ask("printer.lan") == (FOUND, 11)
    assert (path.read_text(), path.stat().st_ino) == (TEXT, inode)


def test_two_networks(lan: Lan, path: Path) -> None:
    """Of two endpoints in one sandbox the later one answers, and when it goes the other. Both search lists are used."""
    lan.server.names["printer.lan"] = lan.second.names["printer.lan"] = FOUND
    web, mail = resolver(path, WEB), resolver(path, MAIL)
    web.follow([OWN], [SERVER], ["lan"])
    mail.follow([OWN], [SECOND], ["attic"])
    assert path.read_text().startswith("search lan attic\n")
    assert lan.ask("printer.lan", mail) == (FOUND, 2)

    mail.undo()
    assert lan.ask("printer.lan", web) == (FOUND, 1)
    web.undo()
    assert path.read_text() == TEXT


def test_server_itself(lan: Lan, path: Path) -> None:
    """The container that is the LAN's name server asks Docker's resolver: it would ask itself without end."""
    one = resolver(path)
    one.follow([OWN], [OWN, SERVER], ["lan"])

    assert one.forwarder is None
    assert path.read_text() == TEXT


@pytest.mark.parametrize("text", ["nameserver 192.0.2.7\n", TEXT + "nameserver 192.0.2.7\n", "x" * 70000])
def test_file_of_somebody_else(path: Path, text: str) -> None:
    """A file that the container has made its own is left alone, and so are its questions."""
    path.write_text(text)
    one = resolver(path)

    one.follow([OWN], [SERVER], ["lan"])

    assert (path.read_text(), one.forwarder) == (text, None)


def test_link_in_its_place(path: Path, tmp_path: Path) -> None:
    """A link, as to the host's own file, is not followed."""
    hosts = tmp_path / "hosts"
    path.rename(hosts)
    path.symlink_to(hosts)

    resolver(path).follow([OWN], [SERVER], ["lan"])

    assert hosts.read_text() == TEXT


def test_bad_questions(lan: Lan, path: Path) -> None:
    """Octets that are no question cost nothing; no more questions are open or handed over than there is room for."""
    lan.server.names = {"printer.lan": FOUND} | {f"slow{number}.lan": None for number in range(200)}
    one = resolver(path)
    one.follow([OWN], [SERVER], ["lan"])
    assert one.forwarder is not None
    with client() as container:
        for octets in (b"", b"\0", bytes(12), question("a")[:-1], question("x.y") + bytes(2000), b"\xff" * 600):
            container.send(octets)
    assert lan.ask("printer.lan", one) == (FOUND, 1)
    with client() as container:
        for number in range(200):
            container.send(question(f"slow{number}.lan"))
    assert lan.ask("nothing", one, MOMENT) is None
    one.forwarder.due(lan.clock() + NEVER)
    assert lan.ask("printer.lan", one) == (FOUND, 1)
    with client() as container:
        for number in range(50):
            container.send(question(f"slow{number}.lan"))
        for answer in list(one.forwarder.sources().values()):
            answer()
    one.forwarder.trim()
    state, numbers = pack(one)
    assert len(state) + MAX_KEPT * 2 * MAX_ANSWER < MAX_STATE_BYTES / 2
    copy = unpack(state, [os.dup(number) for number in numbers], Resolver)
    one.forwarder.close()
    assert lan.ask("printer.lan", copy) == (FOUND, 1)
    one = copy
    one.undo()
