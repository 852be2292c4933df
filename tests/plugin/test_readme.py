"""The README and the operators' manual, held to what they say: commands run, tables and answers compared."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from supervisor.contract.messages import Cost, EndpointView, EventView, Health, WorkerView
from tests.lab.build import PLUGIN, ROOT
from tests.lab.command import run
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE
from tests.lab.plugin import create
from tests.lab.registry import ADDRESS
from tests.plugin.markdown import Block, blocks, first_cells, section
from workers.contract.messages import Trouble

README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
DOCUMENTS = (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
SOURCE_FILE = re.compile(r"`((?:api|supervisor|workers|tests)/[\w/]+\.\w+)`")
NOTED = re.compile(r'\.note(?:_of_lan)?\(\s*"(\w+)"(?: if \w+ else "(\w+)")?')
# What stands for something else in the laboratory; Debian 12 has Compose as a command of its own.
SUBSTITUTES = {"REGISTRY": ADDRESS, "docker compose": "docker-compose"}
PUBLISHED = f"{ADDRESS}/net-dhcp:latest"
IMAGE = "busybox"  # what the README's reader pulls
CARD = "enp3s0"
# Debian's docker command, which is as old as its engine, before any other that the machine may have.
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
LANGUAGES_OF_OUTPUT = ("text", "json")


@pytest.fixture
def reader(lab: Lab, no_leaks: None) -> Iterator[Lab]:
    """A machine whose registries have the plugin and the image that the README names, with the card of its name."""
    docker = lab.engine.docker
    lab.registry.start()
    create(docker, PUBLISHED, PLUGIN)
    docker("plugin", "push", PUBLISHED)
    docker("plugin", "rm", PUBLISHED)
    docker("tag", BUSYBOX, IMAGE)
    lab.network.plug_in(CARD)
    yield lab
    lab.network.unplug(CARD)
    docker("rmi", IMAGE)
    lab.registry.stop()
    # The README has the reader let the bridge's frames pass; the laboratory did so before.
    lab.network.on_host("iptables", "-D", "DOCKER-USER", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT")


@pytest.mark.timeout(400)
def test_every_command_of_the_readme_works(reader: Lab, tmp_path: Path) -> None:
    """A reader who types all of the README, from the top to the bottom, meets no error and has nothing left over."""
    for block in blocks(README):
        if block.reason_not_run is None:
            _follow(block, reader, tmp_path)


def _follow(block: Block, machine: Lab, directory: Path) -> None:
    """Run a block of commands, save a file; raises CommandFailed, whose text has the commands."""
    if block.language == "sh":
        _run(block.text, machine, directory)
    elif block.file is not None:
        (directory / block.file).write_text(block.text)
    elif block.language not in LANGUAGES_OF_OUTPUT:
        raise AssertionError(f"README.md:{block.line}: neither run nor saved, and no reason is given")


def _run(script: str, machine: Lab, directory: Path) -> None:
    """make's commands from the checkout, all others in a shell on the machine; the answer to a question is yes."""
    for name, substitute in SUBSTITUTES.items():
        script = script.replace(name, substitute)
    environment = {"PATH": SYSTEM_PATH, "HOME": str(directory)}
    if script.startswith("make "):
        environment = {**os.environ, "DOCKER_HOST": f"unix://{machine.engine.socket}"}
        run("bash", "-euo", "pipefail", "-c", f"cd {ROOT}\n{script}", env=environment, timeout=180)
    else:
        shell = machine.engine.inside("bash", "-euo", "pipefail", "-c", f"cd {directory}\n{script}")
        run(*shell, env=environment, stdin=b"y\n", timeout=60)


@pytest.mark.parametrize("view", [EndpointView, EventView, Health, WorkerView, Cost])
def test_the_manual_explains_every_field(view: type) -> None:
    """docs/operations.md has a table for each answer, with exactly the fields that the answer has."""
    headings = {
        EndpointView: "GET /v1/endpoints",
        EventView: "GET /v1/events",
        Health: "GET /healthz",
        WorkerView: "GET /v1/workers",
        Cost: "What a process costs",
    }
    assert first_cells(section(OPERATIONS, headings[view])) == [field.name for field in fields(view)]


def test_answers_are_shown_with_the_fields_that_they_have() -> None:
    """The answers that the README prints have neither more nor fewer fields than real ones."""
    shown = [json.loads(block.text) for block in blocks(README) if block.language == "json"]
    health, endpoints = shown
    assert list(health) == [field.name for field in fields(Health)]
    assert [list(e) for e in endpoints["endpoints"]] == [[field.name for field in fields(EndpointView)]]


def test_the_errors_that_are_explained_exist() -> None:
    """Each message of the plugin's that the README explains is in its source, word for word."""
    explained = first_cells(section(README, "Messages of the plugin"))
    files = (path for package in ("api", "supervisor", "workers") for path in (ROOT / package).rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in files))
    assert explained
    assert [text for text in explained if text not in source] == []


def test_the_history_is_explained() -> None:
    """docs/operations.md explains each kind of event that can stand in the history of leases, and no others."""
    source = "".join(path.read_text() for path in (ROOT / "supervisor").rglob("*.py"))
    noted = {kind for found in NOTED.findall(source) for kind in found if kind}
    assert sorted(first_cells(section(OPERATIONS, "State"))) == sorted(noted | {*Trouble})


def test_the_files_that_are_named_exist() -> None:
    """Whoever looks for a file of the source that a document names finds it."""
    named = {name for document in DOCUMENTS for name in SOURCE_FILE.findall(document.read_text())}
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
