"""The findings that follow from what is known of the engine."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from supervisor.engine import checks
from supervisor.engine.checks import engine_findings, mixed_up_at_boot, overlaps, rootless
from supervisor.engine.facts import Engine, EngineConnected, NetworkSeen
from supervisor.engine.watcher import _network

BRIDGE = {
    "Id": "f" * 64,
    "Name": "shop",
    "Driver": "bridge",
    "Scope": "local",
    "IPAM": {"Config": [{"Subnet": "192.168.64.0/20", "Gateway": "192.168.64.1"}, {"Subnet": "fd00::/64"}, {}]},
}


def connected(storage_driver: str, *networks: NetworkSeen) -> Engine:
    """An engine that has told this of itself."""
    engine = Engine()
    engine.learn(EngineConnected("/data", storage_driver))
    for network in networks:
        engine.learn(network)
    return engine


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        ("overlay2", None),
        ("overlayfs", None),
        ("zfs", None),
        ("", None),
        ("vfs", "vfs does not show"),
        ("btrfs", "btrfs does not show"),
    ],
)
def test_storage_driver(driver: str, words: str | None) -> None:
    """The drivers that mount a container's root where it is known tell which one is being started; of others a word
    is said, with the remedy."""
    found = [str(finding) for finding in engine_findings(connected(driver))]
    assert len(found) == (words is not None)
    assert words is None or (words in found[0] and "driver-opt=id=NAME" in found[0])


@pytest.mark.parametrize(
    ("subnets", "parent", "found"),
    [
        ("192.168.77.0/24", "br-lan", ["192.168.64.0/20 of Docker's network shop"]),
        ("192.168.77.0/24", "br-ffffffffffff", []),  # on the very bridge, as with ignore_conflicts
        ("192.168.80.0/24", "br-lan", []),
        ("fd00::5/128 fd00::6/128", "br-lan", ["fd00::/64 of Docker's network shop"]),
    ],
)
def test_overlap(subnets: str, parent: str, found: list[str]) -> None:
    """A lease of a subnet that Docker has on another bridge of this host is told of once, with the network's name."""
    lan = NetworkSeen("n1", "lan", None, (ip_network("192.168.77.0/24"),))
    engine = connected("overlay2", _network(BRIDGE), lan)
    texts = [str(finding) for finding in overlaps(engine, list(map(ip_network, subnets.split())), parent)]
    assert len(texts) == len(found)
    assert all(words in text and "`docker network rm shop`" in text for words, text in zip(found, texts, strict=True))


def test_overlap_with_the_default_network() -> None:
    """That one cannot be removed: its subnet is set in the daemon's configuration."""
    engine = connected("", _network({**BRIDGE, "Name": "bridge"}))
    (finding,) = overlaps(engine, [ip_network("192.168.64.0/24")], "br-lan")
    assert '"bip" in /etc/docker/daemon.json' in finding.remedy


def test_a_swarms_networks_do_not_count() -> None:
    """Their subnets have no route on this host."""
    assert _network({**BRIDGE, "Scope": "swarm"}).subnets == ()


@pytest.mark.parametrize(
    ("ids", "user"),
    [
        ("         0          0 4294967295\n", None),
        ("         0     100000      65536\n", None),  # an unprivileged container of LXC, with an engine as its root
        ("         0          0          1\n", None),
        ("         0       1000          1\n         1     100000      65536\n", 1000),
    ],
)
def test_rootless_engine(ids: str, user: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known by the user that is root there, and by nobody else; the words name that user and the remedy."""
    monkeypatch.setattr(checks, "USER_IDS", tmp_path / "uid_map")
    checks.USER_IDS.write_text(ids)
    finding = rootless()
    assert (finding is not None) == (user is not None)
    assert finding is None or f"rootless, as user {user}" in str(finding)


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, []), (2, ["c0, c1"]), (10, ["c0, c1, c2, c3, c4, c5, c6, c7, c8, c9"]), (12, ["c8, c9 and 2 more"])],
)
def test_mixed_up_at_boot(count: int, told: list[str]) -> None:
    """One finding for a network: ten names, how many more there are, and the command that lists all."""
    found = list(mixed_up_at_boot([f"c{number}" for number in range(count)]))
    assert [finding.remedy for finding in found] == ["net-dhcp pin"] * len(told)
    assert all(finding.found.endswith(text) for finding, text in zip(found, told, strict=True))


def test_rootless_engine_without_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that cannot be read says nothing, and fails no request by itself."""
    monkeypatch.setattr(checks, "USER_IDS", tmp_path / "missing")
    assert rootless() is None
