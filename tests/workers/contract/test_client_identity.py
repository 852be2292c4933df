"""The client identity, and its host name: a legal one stays, others become legal or nothing."""

import re

import pytest

from tests.workers.dhcp4.hostile import texts
from workers.contract.client_identity import ClientIdentity, legal_hostname

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


def test_identity_of_a_mac() -> None:
    """The client identifier is the hardware type and the address (RFC 2132 section 9.14); the name is made legal."""
    identity = ClientIdentity.of_mac("02:42:C0:00:00:05", "web_1")
    assert (identity.client_id, identity.hostname) == (bytes.fromhex("010242c0000005"), "web-1")
