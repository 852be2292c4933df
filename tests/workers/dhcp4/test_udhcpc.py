"""udhcpc's words: its command line, the script that it calls, the records that come back."""

import logging
import os
import subprocess
from contextlib import closing
from ipaddress import IPv4Address
from itertools import pairwise

import pytest

from supervisor.ops.views import view_messages
from tests.workers.dhcp4.hostile import texts
from workers.contract.client_identity import ClientIdentity
from workers.contract.exchange import taken
from workers.dhcp4.udhcpc import (
    MAX_GRANTED_BYTES,
    MAX_RECORD_BYTES,
    SCRIPT,
    Client,
    ClientOptions,
    Event,
    EventKind,
    Records,
)

MAC = "02:00:5e:00:53:01"
SHELLS = [["dash"], ["busybox", "sh"]]
REPORTED = {"ip", "mask", "subnet", "router", "dns", "domain", "lease", "serverid", "mtu", "routes", "staticroutes"}
REPORTED |= {"msstaticroutes", "message", "ntpsrv", "search"}
RECORDS = b"deconfig\0ip=\0\0bound\0ip=192.0.2.10\0domain=a=b\0\0nak\0message=\xff\n \0\0"
EVENTS = [
    Event(EventKind.DECONFIG, {"ip": ""}),
    Event(EventKind.BOUND, {"ip": "192.0.2.10", "domain": "a=b"}),
    Event(EventKind.NAK, {"message": "\ufffd\n "}),
]
HOSTILE = [
    "",
    " ",
    "\n",
    "line\nfeed\r\n",
    "a=b",
    "'single' \"double\"",
    "$(touch /tmp/x)",
    "`reboot`",
    "${ip}",
    "%s%n%d\\0",
    "back\\slash\\",
    "\\0\\0",
    "; reboot & | >",
    "-n",
    "--",
    "*",
    "\x01\x1b[31m\x7f",
    "höst \U0001f600",
    "x" * 100_000,
]


def _script(shell: list[str], event: str, **environment: str) -> bytes:
    command = [*shell, str(SCRIPT), event]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=30).stdout


def test_whole_records() -> None:
    """Each record is one event, with its fields as they are; what is no UTF-8 is marked."""
    assert list(Records().feed(RECORDS)) == EVENTS


@pytest.mark.parametrize("cut", range(len(RECORDS) + 1))
def test_split_anywhere(cut: int) -> None:
    """Wherever the pipe cuts the bytes, the events are the same."""
    records = Records()
    assert [*records.feed(RECORDS[:cut]), *records.feed(RECORDS[cut:])] == EVENTS


def test_byte_by_byte() -> None:
    """Also if each byte comes alone."""
    records = Records()
    assert [event for byte in RECORDS for event in records.feed(bytes([byte]))] == EVENTS


@pytest.mark.parametrize("name", ["", "BOUND", "bound2", "reboot", "\x1b[31m"])
def test_unknown_event(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A record that is no event is logged and dropped; what follows is read."""
    with caplog.at_level(logging.WARNING):
        assert list(Records().feed(b"%b\0ip=1\0\0" % name.encode() + RECORDS)) == EVENTS
    assert len(caplog.records) == 1


def test_record_without_end(caplog: pytest.LogCaptureFixture) -> None:
    """What never ends is not kept for the next turn; what follows it is read."""
    records = Records()
    for _ in range(10):
        assert list(records.feed(b"x" * MAX_RECORD_BYTES)) == []
        assert len(records._pending) <= MAX_RECORD_BYTES
    assert list(records.feed(b"\0\0" + RECORDS)) == EVENTS
    assert "more than 16384 bytes at once" in caplog.text


def test_any_bytes() -> None:
    """A value of any bytes but NUL is one event, with these bytes as text; noise costs no event that follows it."""
    for text in texts(500):
        noise = text.encode("utf-8", "surrogatepass")
        value = noise.replace(b"\0", b"")
        (event,) = Records().feed(b"bound\0message=%b\0\0" % value)
        assert event == Event(EventKind.BOUND, {"message": value.decode("utf-8", "replace")})
        assert list(Records().feed(noise.rstrip(b"\0") + b"\0\0" + RECORDS))[-len(EVENTS) :] == EVENTS


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("kind", list(EventKind))
def test_script(shell: list[str], kind: EventKind) -> None:
    """Each event comes through the script with all the variables that a lease is made of, unset ones empty."""
    output = _script(shell, kind, ip="192.0.2.10", mask="24", router="192.0.2.1 192.0.2.2", foreign="unseen")
    (event,) = Records().feed(output)
    given = {"ip": "192.0.2.10", "mask": "24", "router": "192.0.2.1 192.0.2.2"}
    assert event == Event(kind, {name: given.get(name, "") for name in REPORTED})


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_script_with_hostile_values(shell: list[str], text: str) -> None:
    """A value passes as it is, beginning or end, and is interpreted by nobody."""
    (event,) = Records().feed(_script(shell, "bound", ip=text, domain=text, message=text))
    assert (event.values["ip"], event.values["domain"], event.values["message"]) == (text, text, text)
    assert set(event.values) == REPORTED


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_script_again_and_again(shell: list[str]) -> None:
    """Records of several calls in one pipe stay apart, also after hostile ones."""
    output = b"".join(_script(shell, "bound", ip=text, message=text) for text in HOSTILE)
    assert [event.values["ip"] for event in Records().feed(output)] == HOSTILE


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_words_of_a_renewal(shell: list[str]) -> None:
    """They are what the script says when the lease is renewed as it was granted; another event ends that."""
    client = Client(ClientOptions("eth0", ClientIdentity.of_mac(MAC)))
    start = client.take_start()
    assert start is not None
    with client.events as reader, client.errors, closing(start):
        script = start.output
        granted = {"ip": "192.0.2.10", "lease": "600", "serverid": "192.0.2.1"}
        for event, renewed in (("deconfig", False), ("bound", True), ("renew", True), ("leasefail", False)):
            script.send(_script(shell, event, **granted))
            client.read_events()
            assert client.granted == (_script(shell, "renew", **granted) if renewed else b"")
        script.send(_script(shell, "bound", **granted, domain="x" * MAX_GRANTED_BYTES))
        client.read_events()
        assert client.granted == b""  # a sleeper keeps no more
        assert not reader.getblocking()


def test_messages() -> None:
    """Operators see what it sends without a lease and each answer, in this order although the worker reads all at once.
    Another program's lines are none."""
    client = Client(ClientOptions("eth0", ClientIdentity.of_mac(MAC)))
    start = client.take_start()
    assert start is not None
    with client.events, client.errors, closing(start):
        lines = ("broadcasting discover", "broadcasting select for 192.0.2.10, server 192.0.2.1", "sh: broadcasting")
        os.write(start.errors.fileno(), "".join(f"udhcpc: {line}\n" for line in lines).encode())
        for event, ip in (("deconfig", ""), ("bound", "192.0.2.10"), ("renew", "$(reboot)"), ("nak", "")):
            words = {"ip": ip, "mask": "24", "lease": "600", "serverid": "192.0.2.1"}
            start.output.send(_script(SHELLS[0], event, **words))
        client.read_events()
    address, server = IPv4Address("192.0.2.10"), "192.0.2.1"
    assert [(view.kind, view.sent, view.address, view.server) for view in view_messages(taken())] == [
        ("DISCOVER", True, None, None),
        ("REQUEST", True, None, None),
        ("ACK", False, address, server),
        ("ACK", False, None, None),
        ("NAK", False, None, None),
    ]


def _pairs(words: list[str], option: str) -> list[str]:
    return [after for word, after in pairwise(words) if word == option]


def test_arguments() -> None:
    """Nothing is left to a distribution's defaults, and the client is the same one whatever its interface is called."""
    words = ClientOptions("eth0", ClientIdentity.of_mac(MAC)).arguments()
    assert words[0] == "udhcpc"
    assert _pairs(words, "-i") == ["eth0"]
    assert _pairs(words, "-s") == [str(SCRIPT)]
    assert _pairs(words, "-x") == ["0x3d:0102005e005301"]
    assert _pairs(words, "-V") == ["docker-net-dhcp"]
    assert {"-t", "-T", "-A", "-f", "-B", "-o"} <= set(words)
    assert not {"-R", "-r", "-q", "-n", "-b"} & set(words)


def test_requested_options() -> None:
    """All that a lease is made of is asked for: what is not, a server does not send."""
    asked = {int(option) for option in _pairs(ClientOptions("eth0", ClientIdentity.of_mac(MAC)).arguments(), "-O")}
    assert {1, 3, 6, 15, 26, 33, 51, 54, 121, 249} <= asked


def test_requested_address_and_host_name() -> None:
    """Option 50 and option 12 go out where they are known; the name as hexadecimal, which needs no quoting."""
    identity = ClientIdentity.of_mac(MAC, "web-1")
    words = ClientOptions("eth0", identity, IPv4Address("192.0.2.10")).arguments()
    assert _pairs(words, "-r") == ["192.0.2.10"]
    assert _pairs(words, "-x") == ["0x3d:0102005e005301", "0x0c:7765622d31"]


def test_identity_of_the_users_choice() -> None:
    """Options 61, 60, 77 and 81 are the identity's; with an FQDN there is no option 12 (RFC 4702 section 3.1)."""
    identity = ClientIdentity(b"\0rack", "web.lab", "vendor", user_class="user", fqdn=True)
    words = ClientOptions("eth0", identity).arguments()
    assert _pairs(words, "-V") == ["vendor"]
    assert _pairs(words, "-x") == ["0x3d:007261636b", "0x51:05000003776562036c6162", "0x4d:0475736572"]
