"""Answers a container's questions of names: asks Docker's resolver, which knows the containers, and the LAN's servers.

Docker's resolver passes on what it does not know itself, on most hosts from the host, where no lease can be followed.
So the questions come here. For a name without a dot, as containers have it, the answer of Docker's resolver wins, for
all others that of the LAN's servers; the other one counts where the first does not know the name. Nobody waits long for
one that is silent. Owns sockets of the sandbox; must not know how the questions get to them.
"""

import math
import secrets
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

from msgspec import Struct

from workers.system.clock import boottime

DNS_PORT = 53
EMBEDDED = IPv4Address("127.0.0.11")  # Docker's resolver
MARK = 0x6E64  # of the socket that asks it
SO_MARK = 36
HEADER_BYTES = 12  # the id, two octets of flags, four counts (RFC 1035 section 4.1.1)
ID = struct.Struct("!H")
NO_ERROR, NAME_ERROR, RCODE = 0, 3, 0x0F
MAX_SERVERS = 3
MAX_QUESTIONS, MAX_KEPT = 64, 4
MAX_PACKETS = 64  # read at a time: who asks faster than we answer must not keep the worker from its lease
MAX_QUESTION, MAX_ANSWER = 1232, 4096  # octets, with EDNS
MAX_NAME = 255
DOCKERS_SECONDS = 0.25  # Docker's resolver answers for a container at once; a question that it passes on takes longer
RETRY_SECONDS = 1.5  # until the next server is asked; resolvers ask again after 2 to 5
GIVE_UP_SECONDS = 5.0


class Question(Struct):
    """What `client` asked by the number `id`, and what has been heard. `tried` counts the servers that were asked.

    `asked` and `docker_at` are the `boottime()` of the question and that when Docker's resolver was asked.
    """

    client: tuple[str, int]
    id: int
    packet: bytes
    asked: float
    question: bytes
    tried: int = 0
    docker_at: float = math.inf
    docker: bytes | None = None
    lan: bytes | None = None

    @property
    def plain(self) -> bool:
        """Whether the name has no dot: it is one label, and the root."""
        return len(self.question) == self.question[0] + 6

    def answer(self, now: float) -> bytes | None:
        """What the client is told, if that is clear already. Docker's resolver counts as silent after a moment."""
        silent_at = self.docker_at + DOCKERS_SECONDS
        if self.docker and _is_found(self.docker) and (self.plain or self.lan or now >= self.asked + RETRY_SECONDS):
            return self.docker
        if self.lan and (self.docker or now >= silent_at or (_is_found(self.lan) and not self.plain)):
            return self.lan
        return self.lan or self.docker if now >= self.asked + GIVE_UP_SECONDS else None


@dataclass(init=False, eq=False)
class Forwarder:
    """Sockets in the present network namespace. Questions go to `port` of 127.0.0.11."""

    _servers: tuple[str, ...]
    _questions: dict[int, Question]
    _lan: list[socket.socket]
    _asked: socket.socket
    _docker: socket.socket | None = None
    _looked_at: float = -math.inf

    def __init__(self, servers: Sequence[str]) -> None:
        """Raises OSError."""
        self._servers = tuple(servers[:MAX_SERVERS])
        self._questions, self._lan = {}, []
        self._asked = _socket(str(EMBEDDED))
        self._asked.bind((str(EMBEDDED), 0))

    @property
    def port(self) -> int:
        return int(self._asked.getsockname()[1])

    @property
    def next_at(self) -> float | None:
        """The `boottime()` at which to call `due`. It may have passed: `due` was called before it, and not since."""
        waits = (RETRY_SECONDS, 2 * RETRY_SECONDS, GIVE_UP_SECONDS)
        times = [question.asked + wait for question in self._questions.values() for wait in waits]
        times += [question.docker_at + DOCKERS_SECONDS for question in self._questions.values()]
        return min((at for at in times if self._looked_at < at < math.inf), default=None)

    def sources(self) -> dict[int, Callable[[], None]]:
        """The descriptors to wait for, each with the function to call when it is readable."""
        sources: dict[int, Callable[[], None]] = {self._asked.fileno(): self._on_questions}
        sources |= {one.fileno(): self._on_answers for one in self._asking}
        return sources

    def due(self, now: float) -> None:
        """Asks the next one the questions that are still open, and gives up those that have been open for long."""
        self._looked_at = now
        for number, question in list(self._questions.items()):
            if question.lan is None and now >= question.asked + RETRY_SECONDS * question.tried:
                self._ask_lan(number, question)
            if now >= question.asked + RETRY_SECONDS:
                self._ask_docker(number, question)
            self._settle(number, question, now)

    def use(self, servers: Sequence[str]) -> None:
        """Asks these from now on, also the questions that are still open."""
        self._servers = tuple(servers[:MAX_SERVERS])
        if self._questions:
            self._connect_lan()
        for number, question in self._questions.items():
            question.tried = 0
            self._ask_lan(number, question)

    def close(self) -> None:
        self._forget()
        self._asked.close()

    @property
    def _asking(self) -> list[socket.socket]:
        return self._lan if self._docker is None else [*self._lan, self._docker]

    def trim(self) -> None:
        """Keeps as few open questions as the next process can take over; the container asks the others again."""
        for number in list(self._questions)[:-MAX_KEPT]:
            del self._questions[number]

    def _forget(self) -> None:
        """Closes what asks: the next question comes from other ports, which makes forged answers harder."""
        self._questions.clear()
        for one in self._asking:
            one.close()
        self._lan, self._docker = [], None

    def _on_questions(self) -> None:
        with suppress(BlockingIOError):
            for _ in range(MAX_PACKETS):
                packet, client = self._asked.recvfrom(MAX_QUESTION + 1)
                question = question_of(packet)
                if question and len(packet) <= MAX_QUESTION and len(self._questions) < MAX_QUESTIONS:
                    self._begin(Question(client, ID.unpack_from(packet)[0], packet, boottime(), question))
        self.due(boottime())

    def _begin(self, question: Question) -> None:
        if not self._questions:
            self._connect_lan()
            self._docker = _connected(str(EMBEDDED))
        number = secrets.randbelow(1 << 16)
        while number in self._questions:
            number = secrets.randbelow(1 << 16)
        self._questions[number] = question
        if question.plain:
            self._ask_docker(number, question)
        self._ask_lan(number, question)

    def _connect_lan(self) -> None:
        for one in self._lan:
            one.close()
        self._lan = [_connected(server) for server in self._servers]

    def _ask_lan(self, number: int, question: Question) -> None:
        if question.tried < len(self._lan):
            server = self._lan[question.tried]
            question.tried += 1
            _send(server, number, question)

    def _ask_docker(self, number: int, question: Question) -> None:
        if self._docker is not None and question.docker_at == math.inf:
            question.docker_at = boottime()
            _send(self._docker, number, question)

    def _on_answers(self) -> None:
        for one in self._asking:
            with suppress(OSError):  # nothing more, or nobody listens there: then the next one is asked in time
                for _ in range(MAX_PACKETS):
                    self._on_answer(one, one.recv(MAX_ANSWER))
        self.due(boottime())

    def _on_answer(self, sender: socket.socket, packet: bytes) -> None:
        number = ID.unpack_from(packet)[0] if len(packet) >= HEADER_BYTES else -1
        question = self._questions.get(number)
        if question is None or question_of(packet) != question.question:
            return
        if sender is self._docker:
            question.docker = packet
        elif packet[3] & RCODE not in (NO_ERROR, NAME_ERROR) and question.tried < len(self._lan):
            self._ask_lan(number, question)  # it cannot say
        elif question.lan is None or _is_found(packet):
            question.lan = packet
        if question.lan is not None and not _is_found(question.lan):
            self._ask_docker(number, question)
        self._settle(number, question, boottime())

    def _settle(self, number: int, question: Question, now: float) -> None:
        answer = question.answer(now)
        if answer is not None:
            with suppress(OSError):  # the asker has gone
                self._asked.sendto(ID.pack(question.id) + answer[ID.size :], question.client)
        if answer is not None or now >= question.asked + GIVE_UP_SECONDS:
            self._questions.pop(number, None)
            if not self._questions:
                self._forget()


def question_of(packet: bytes) -> bytes:
    """The first question in lower case: the name as labels, its type and its class. Empty if there is none."""
    at = HEADER_BYTES
    while at < len(packet) and 0 < packet[at] < 0x40 and at < HEADER_BYTES + MAX_NAME:
        at += 1 + packet[at]
    end = at + 5
    return packet[HEADER_BYTES:end].lower() if end <= len(packet) and packet[at] == 0 and at > HEADER_BYTES else b""


def _is_found(packet: bytes) -> bool:
    return packet[3] & RCODE == NO_ERROR


def _send(to: socket.socket, number: int, question: Question) -> None:
    with suppress(OSError):  # as if it were lost
        to.send(ID.pack(number) + question.packet[ID.size :])


def _socket(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)


def _connected(server: str) -> socket.socket:
    """One that only this server can answer. Without a way to it, it answers nothing."""
    made = _socket(server)
    if server == str(EMBEDDED):
        made.setsockopt(socket.SOL_SOCKET, SO_MARK, MARK)
    with suppress(OSError):
        made.connect((server, DNS_PORT))
    return made
