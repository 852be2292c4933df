"""The recipes of contrib/host-bridge: each is read by the program that it is for, and names the card and the bridge."""

import configparser
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import run, wait_until
from tests.lab.process import spawn
from tests.lab.unpacked import environment, unpacked

pytestmark = pytest.mark.recipes
CONTRIB = Path(__file__).parents[2] / "contrib"
RECIPES = CONTRIB / "host-bridge"
CARD, BRIDGE = "enp3s0", "br-lan"
# Its own /run and /etc/systemd/network, and a /sys that tells it that there is no udev to wait for.
NETWORKD = """
mount -t tmpfs tmpfs /run
mount -t sysfs -o ro sysfs /sys
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network: /run/systemd/netif
mount -t tmpfs tmpfs /etc/systemd/network
cp "$0"/* /etc/systemd/network
exec /usr/lib/systemd/systemd-networkd
"""
ANSIBLE = (
    *("ansible-core", "python3-jinja2", "python3-markupsafe", "python3-yaml", "python3-packaging"),
    *("python3-resolvelib", "python3-cryptography", "python3-cffi-backend"),
)


def parsed(file: Path) -> dict[str, dict[str, str]]:
    """A file of systemd's or NetworkManager's form."""
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(file)
    return {section: dict(parser[section]) for section in parser.sections()}


def test_netplan(tmp_path: Path) -> None:
    """Its generator makes the bridge, and the card a port of it, for systemd-networkd."""
    root = unpacked("netplan.io", "libnetplan0")
    (tmp_path / "etc/netplan").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    copy = shutil.copy(RECIPES / "netplan/60-br-lan.yaml", tmp_path / "etc/netplan")
    Path(copy).chmod(0o600)
    run(root / "usr/libexec/netplan/generate", "--root-dir", tmp_path, env=environment(root))

    made = tmp_path / "run/systemd/network"
    assert parsed(made / f"10-netplan-{CARD}.network")["Network"]["Bridge"] == BRIDGE
    netdev = parsed(made / f"10-netplan-{BRIDGE}.netdev")
    assert (netdev["NetDev"]["Kind"], netdev["Bridge"]["STP"]) == ("bridge", "false")
    assert parsed(made / f"10-netplan-{BRIDGE}.network")["Network"]["DHCP"] == "ipv4"


@pytest.fixture
def host() -> Iterator[str]:
    """A network namespace with the card."""
    name = "ndh-recipes"
    if name in run("ip", "netns", "list"):
        run("ip", "netns", "delete", name)
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "add", CARD, "type", "veth", "peer", "name", "lan")
    run("ip", "-n", name, "link", "set", "lan", "up")
    yield name
    run("ip", "netns", "delete", name)


def test_systemd_networkd(host: str, tmp_path: Path) -> None:
    """It makes the bridge, plugs the card in and raises both."""
    private = ("unshare", "--mount", "--propagation", "private", "sh", "-ec", NETWORKD)
    enter = ["nsenter", f"--net=/run/netns/{host}", *private, str(RECIPES / "systemd-networkd")]
    networkd = spawn(enter, tmp_path / "networkd.log")
    try:
        show = ("ip", "-n", host, "-oneline", "link", "show", "master", BRIDGE)
        wait_until(lambda: BRIDGE in run("ip", "-n", host, "link"), "the bridge")
        wait_until(lambda: CARD in run(*show) and "state UP" in run(*show), "the card as a port of it")
        assert "stp_state 0" in run("ip", "-n", host, "-details", "link", "show", BRIDGE)
    finally:
        networkd.stop()


def test_ifupdown(tmp_path: Path) -> None:
    """It reads the stanza as it was meant, and would configure it."""
    root = unpacked("ifupdown")
    stanza = (f"--interfaces={RECIPES / 'ifupdown/br-lan'}", f"--state-dir={tmp_path}", BRIDGE)
    read = run(root / "sbin/ifquery", *stanza).splitlines()
    assert read == [f"bridge_ports: {CARD}", "bridge_stp: off", "bridge_fd: 0"]
    run(root / "sbin/ifup", "--no-act", *stanza)
    assert run(root / "sbin/ifquery", "--list", *stanza[:2]).split() == ["lo", BRIDGE]  # at each boot


def test_network_manager() -> None:
    """It reads both profiles: the bridge has DHCP, and the card is its port."""
    root = unpacked("network-manager", "libnm0")
    modify = (root / "usr/bin/nmcli", "--offline", "connection", "modify", "connection.autoconnect", "yes")
    read = {}
    for file in sorted((RECIPES / "NetworkManager").iterdir()):
        text = run(*modify, stdin=file.read_bytes(), env=environment(root))
        parser = configparser.ConfigParser()
        parser.read_string(text)
        read[file.stem] = {section: dict(parser[section]) for section in parser.sections()}
    bridge, port = read["br-lan"], read["br-lan-port"]
    assert (bridge["connection"]["interface-name"], bridge["bridge"]["stp"]) == (BRIDGE, "false")
    assert bridge["ipv4"]["method"] == "auto"
    of_port = port["connection"]
    assert (of_port["interface-name"], of_port["master"], of_port["slave-type"]) == (CARD, BRIDGE, "bridge")


def test_drop_in_of_docker(tmp_path: Path) -> None:
    """systemd understands the drop-in of docker.service."""
    unit = tmp_path / "etc/systemd/system/docker.service"
    shutil.copytree(CONTRIB / "systemd/docker.service.d", f"{unit}.d")
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    for command in ("usr/sbin/iptables", "bin/sh", "bin/true"):
        (tmp_path / command).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / command).touch(mode=0o755)
    targets = "sysinit.target basic.target shutdown.target system.slice -.slice"
    for one in targets.split():
        (tmp_path / f"etc/systemd/system/{one}").write_text("[Unit]\nDescription=one of systemd's\n")
    run("systemd-analyze", "verify", "--man=no", f"--root={tmp_path}", "docker.service")


@pytest.mark.parametrize("tool", ["netplan", "networkd", "ifupdown", "NetworkManager"])
def test_ansible(tool: str, tmp_path: Path) -> None:
    """The playbook puts the recipe with the host's own names into its place, and asks Docker for plugin and network."""
    root = unpacked(*ANSIBLE)
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "docker").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (commands / "docker").chmod(0o755)
    host = tmp_path / "host"
    own = environment(root)
    own |= {
        "PATH": f"{commands}:{own['PATH']}",
        "ANSIBLE_HOME": f"{tmp_path}/home",
        "ANSIBLE_LOCAL_TEMP": f"{tmp_path}/t",
    }
    chosen = {
        "tool": tool,
        "card": "eth7",
        "bridge": "br7",
        "root": host,
        "plugin": "registry/net-dhcp",
        "swarm": "true",
    }
    words = [word for name, value in chosen.items() for word in ("-e", f"{name}={value}")]
    here = ("-i", "localhost,", "-c", "local", "-e", "ansible_become=false")
    playbook: tuple[str | Path, ...] = (
        "/usr/bin/python3",
        root / "usr/bin/ansible-playbook",
        *here,
        *words,
        RECIPES / "ansible/host.yml",
    )
    run(*playbook, env=own, timeout=300)

    files = [file for file in host.rglob("*") if file.is_file()]
    text = "\n".join(file.read_text() for file in files)
    assert len(files) == {"netplan": 2, "networkd": 4, "ifupdown": 2, "NetworkManager": 3}[tool]
    assert "eth7" in text
    assert "-i br7 -o br7" in text
    assert not {CARD, BRIDGE} & set(text.replace("=", " ").split())
    asked = (tmp_path / "asked").read_text()
    assert "plugin install --grant-all-permissions --alias net-dhcp registry/net-dhcp" in asked
    assert "network create --config-only --ipam-driver null -o bridge=br7 -o mac=name lan-here" in asked
