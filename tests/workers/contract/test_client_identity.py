"""The client identity, and its host name: a legal one stays, others become legal or nothing."""

import re

import pytest

from tests.workers.dhcp4.hostile import texts
from workers.contract.client_identity import ClientIdentity, id_of_text, legal_hostname, printable

LEGAL = re.compile(
    r"(?=.{1,253}\Z)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("web", "web"),
        ("web-1.lan.example", "web-1.lan.example"),
        ("0f3a9c", "0f3a9c"),
        ("WEB", "WEB"),
        ("web_1", "web-1"),
        ("my web", "my-web"),
        ("-web-", "web"),
        ("web..lan.", "web.lan"),
        ("wöb", "w-b"),
        ("web\n", "web"),
        ("$(reboot)", "reboot"),
        ("a" * 70, "a" * 63),
        ("a" * 62 + "-b.lan", "a" * 62 + ".lan"),
        ("", None),
        (None, None),
        ("_", None),
        ("...", None),
        ("-.-", None),
        ("名前", None),
    ],
)
def test_name(name: str | None, legal: str | None) -> None:
    """What is legal goes out as it is; the rest as near to it as RFC 1123 allows."""
    assert legal_hostname(name) == legal


@pytest.mark.parametrize("offset", range(12))
def test_long_name(offset: int) -> None:
    """A name is cut to 253 characters, and what is left is legal wherever the cut falls."""
    name = legal_hostname("x" * offset + "aaaaaaaaa-b." * 30)
    assert name is not None
    assert len(name) > 240
    assert LEGAL.fullmatch(name)


def test_any_text() -> None:
    """Of whatever text comes a legal name or none, and a legal name does not change any more."""
    results = [legal_hostname(text) for text in texts(3000)]
    named = [name for name in results if name is not None]
    assert [name for name in named if not LEGAL.fullmatch(name)] == []
    assert [legal_hostname(name) for name in named] == named
    assert 0 < len(named) < len(results)


def test_identity_without_a_mac() -> None:
    """It is RFC 4361's, an IAID and the DUID of DHCPv6, which is a UUID; each seed has its own, for ever."""
    identity = ClientIdentity.of_seed("02:42:c0:00:00:05", "web_1")
    assert identity.client_id == b"\xff" + identity.iaid.to_bytes(4) + identity.duid
    assert (identity.duid[:2], len(identity.duid), identity.hostname) == (b"\0\x04", 18, "web-1")
    assert identity.duid[2:].hex() == "bbb296f169be5134ab7bdfbeac420f97"
    assert ClientIdentity.of_seed("02:42:c0:00:00:06").client_id != identity.client_id


def test_identity_of_a_mac() -> None:
    """The client identifier is the hardware type and the address (RFC 2132 section 9.14); the name is made legal."""
    identity = ClientIdentity.of_mac("02:42:C0:00:00:05", "web_1")
    assert (identity.client_id, identity.hostname) == (bytes.fromhex("010242c0000005"), "web-1")


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("01:02:00:5e:10:00:01", "0102005e100001"),
        ("FF:00", "ff00"),
        ("web", "00776562"),
        ("rack-1 (left)", "007261636b2d3120286c65667429"),
        ("beef", "0062656566"),
        ("a" * 63, "00" + "61" * 63),
    ],
)
def test_client_identifier(text: str, octets: str) -> None:
    """Octets are taken as they are; another text is no hardware address, and gets the type 0 for that."""
    assert id_of_text(text).hex() == octets


@pytest.mark.parametrize("text", ["", "a" * 64, "tab\t", "wöb", ":".join(["00"] * 65), "nul\0"])
def test_no_client_identifier(text: str) -> None:
    """What is no printable ASCII, or too long for udhcpc's packet, is refused."""
    with pytest.raises(ValueError, match=r"octets|characters"):
        id_of_text(text)


def test_printable() -> None:
    """A class has 1 to 64 characters."""
    assert printable("x" * 64) == "x" * 64
    with pytest.raises(ValueError, match="1 to 64 printable"):
        printable("x" * 65)
