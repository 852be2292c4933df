"""The command as a person uses it: the file out of the plugin's image, as a plugin of the docker command."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.build import PLUGIN
from tests.lab.command import run as run_command
from tests.lab.engine import Docker
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE, SERVER
from tests.lab.plugin import Plugin
from tests.plugin.conftest import Run
from tests.plugin.judge import endpoint

FILE = PLUGIN / "rootfs" / "usr" / "share" / "net-dhcp" / "docker-dhcp"
RULE = ("DOCKER-USER", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT")
Dhcp = Callable[..., str]


@pytest.fixture
def dhcp_command(docker: Docker, lab: Lab, plugin: Plugin, tmp_path: Path) -> Dhcp:
    """What `docker dhcp` with these words prints; installed as the README has it, but for the directory."""
    file = tmp_path / "config" / "cli-plugins" / "docker-dhcp"
    source = f"/run/docker/plugins/{plugin.id}/net-dhcp.sock"
    fetch = ("curl", "-sf", "--unix-socket", source, "--create-dirs", "-o", str(file), "http://plugin/cli")
    run_command(*lab.engine.inside(*fetch))
    assert file.read_bytes() == FILE.read_bytes()
    file.chmod(0o755)
    environment = {**os.environ, "DOCKER_CONFIG": str(tmp_path / "config")}

    def call(*words: str, status: int = 0) -> str:
        argv = docker.argv("dhcp", *words)
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return call


def test_as_a_person_would(dhcp_command: Dhcp, docker: Docker, run: Run, network: str) -> None:
    """Docker knows the command. It lists a container, finds it by its address, and names those that a boot mixes up;
    one that it connects anew is itself again after that, and after a restart, and then nothing is left to say."""
    web, db = run("--restart=unless-stopped", name="web"), run("--restart=unless-stopped", name="db")
    assert "Usage: docker dhcp ps" in dhcp_command("ps", "--help")

    place = web.attachment(network)
    rows = [json.loads(line) for line in dhcp_command("ps", "--format", "json").splitlines()]
    assert {(row["container"], row["address"], row["mac"]) for row in rows} == {
        (c.name, str(c.attachment(network).address), c.attachment(network).mac) for c in (web, db)
    }
    assert all(row["pss"] > 0 for row in rows)
    assert place.address is not None
    found = dhcp_command("inspect", str(place.address.ip))
    assert place.mac in found
    assert "first lease" in found

    run("--restart=unless-stopped", "--expose=443", name="mail")  # from Docker 29 on that tells nobody apart
    alike = ["db", "mail", "web"] if docker.release >= 29 else ["db", "web"]
    assert f"nothing tells them apart: {', '.join(alike)}" in dhcp_command("doctor", status=7)
    printed = dhcp_command("pin")
    assert f"--mac-address {place.mac}" in printed
    rows = [line.rstrip().split(maxsplit=3) for line in printed.partition("\n\n")[0].splitlines()[1:]]
    assert {row[0]: row[3] for row in rows} == {
        name: ", ".join(other for other in alike if other != name) for name in alike
    }

    before = db.attachment(network)
    assert "it keeps" in dhcp_command("pin", "--now", "--yes", "db")
    db.restart()
    after = db.attachment(network)
    assert (after.mac, after.address) == (before.mac, before.address)
    if docker.release >= 29:
        dhcp_command("pin", "--now", "--yes", "mail")
    assert "No container has to be pinned" in dhcp_command("pin")
    dhcp_command("doctor")


def test_interface_names(dhcp_command: Dhcp, docker: Docker, plugin: Plugin, run: Run, network: str) -> None:
    """An interface that the user has named is shown under its name; why another one has Docker's is in its history."""
    named = run(name="named")

    def shown_as(wanted: str) -> tuple[str, list[str]]:
        docker("network", "disconnect", network, named.name)
        option = f"com.docker.network.endpoint.ifname={wanted}"
        docker("network", "connect", f"--driver-opt={option}", network, named.name)
        endpoint(plugin, named.attachment(network))
        found = json.loads(dhcp_command("inspect", named.name, "--events", "4", "--format", "json"))
        return found["interface"], [event["detail"] for event in found["events"] if event["kind"] == "misnamed"]

    assert shown_as("lan0") == ("lan0", [])
    interface, story = shown_as("uplink")
    assert [why.partition(": ")[0] for why in story] == (
        [] if interface == "uplink" else [f"its interface is called {interface}, and not uplink"]
    )
    dhcp_command("doctor")


def test_doctor_of_a_broken_host(dhcp_command: Dhcp, run: Run, lab: Lab) -> None:
    """A host where all is well has an offer on its LAN and no lease more. Of a broken one the exit status tells it, and
    the command that is printed mends it."""
    run()
    leased = {lease.address for lease in lab.dhcp.leases()}
    assert f"{SERVER} offers leases" in dhcp_command("doctor")
    assert {lease.address for lease in lab.dhcp.leases()} == leased

    lab.network.on_host("iptables", "-D", *RULE)
    try:
        printed = re.search(r"fix: .*`(iptables -I [^`]+)`", dhcp_command("doctor", "--no-probe", status=1))
        assert printed is not None
        lab.network.on_host(*printed[1].split())
        dhcp_command("doctor")
        lab.network.on_host(*printed[1].replace("-I", "-D", 1).split())
    finally:
        lab.network.on_host("iptables", "-I", *RULE)
