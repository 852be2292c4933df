"""Checks whose troubles this machine's kernel cannot have, and what holds for all of them."""

import re

import pytest
from msgspec.structs import replace

from supervisor.engine import checks as engine
from tests.documents.markdown import section
from tests.lab.build import ROOT
from workers.contract.finding import Severity
from workers.contract.link import LinkKind, LinkSpec
from workers.diagnosis import causes, checks
from workers.diagnosis.checks import Host
from workers.netlink.rtnetlink import Bridge, Link

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
PARENT = Link(2, "br-lan", "", True, True, True, "bridge", 1500)
UPLINK = Link(3, "eth0", "", True, True, True, None, 1500, master=2)
OURS = replace(UPLINK, index=4, name="dh-0123456789ab")
FILTERING = Bridge(False, 0.0, False, filters_vlans=True, default_vlan=1)
NO_DEFAULT = replace(FILTERING, default_vlan=0)
ALL = (
    *(one.check for one in checks.CHECKS),
    checks.NO_PARENT,
    checks.NOT_READ,
    *causes.WIRE,
    *engine.CHECKS,
)


def found(check: str, host: Host) -> list[str]:
    """What one check of the table finds, with the remedies."""
    (one,) = [c for c in checks.CHECKS if c.check.id == check]
    return [f"{words}: {remedy}" for words, remedy in one.look(host)]


@pytest.mark.parametrize(
    ("bridge", "ports", "vlans", "words"),
    [
        (FILTERING, (UPLINK,), {3: {1}}, None),
        (FILTERING, (UPLINK, OURS), {3: {20}, 4: {1}}, "no uplink (eth0) is in the containers' VLAN 1"),
        (FILTERING, (UPLINK,), {}, "`bridge vlan add dev eth0 vid 1 pvid untagged`"),
        (FILTERING, (OURS,), {}, None),
        (NO_DEFAULT, (UPLINK,), {3: {1}}, "`ip link set br-lan type bridge vlan_default_pvid 1`"),
        (replace(FILTERING, default_vlan=20), (UPLINK,), {3: {1, 20}}, None),
        (replace(FILTERING, filters_vlans=False), (UPLINK,), None, None),
    ],
)
def test_vlan_filtering(
    bridge: Bridge, ports: tuple[Link, ...], vlans: dict[int, frozenset[int]] | None, words: str | None
) -> None:
    """A bridge that filters VLANs carries DHCP only if an uplink is in the VLAN of our ports."""
    said = found("vlan-filtering", Host(PARENT, False, bridge, ports, vlans))
    assert len(said) == (words is not None)
    assert words is None or words in said[0]


def test_a_check_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a finding by itself and keeps no other from its result: a kernel of tomorrow may answer in other forms."""

    def fail(_: Host) -> checks.Words:
        raise LookupError("an attribute of tomorrow")

    def work(_: Host) -> checks.Words:
        yield "it is broken", "mend it"

    table = tuple(replace(checks.CHECKS[n], look=look) for n, look in ((5, fail), (1, work)))
    monkeypatch.setattr(checks, "CHECKS", table)
    monkeypatch.setattr(checks, "_host", lambda *_: Host(PARENT, False))
    first, second = checks.diagnose(LinkSpec(LinkKind.BRIDGE, "br-lan"))
    assert (str(first), first.severity) == ("it is broken: mend it", Severity.ERROR)
    assert (second.id, "check firewall-ip could not be made" in second.found) == ("not-read", True)


def test_ids() -> None:
    """Operators refer to checks by their ids: each one has another, of small letters."""
    ids = [check.id for check in ALL]
    assert len(ids) == len(set(ids))
    assert [name for name in ids if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []


def test_the_manual_lists_every_check() -> None:
    """docs/operations.md has one row for each check, with its severity, and no others."""
    rows = re.findall(r"^\| `(\S+)` \| (\w+) \|", section(OPERATIONS, "Checks"), re.MULTILINE)
    assert sorted(rows) == sorted((check.id, check.severity) for check in ALL)
