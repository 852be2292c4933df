"""The README and the users' manual, held to what they say: their commands run, in a reader's order."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents.markdown import Block, blocks
from tests.documents.test_documents import RUN
from tests.lab.build import PLUGIN, ROOT
from tests.lab.command import run
from tests.lab.engine_roots import compose
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE
from tests.lab.plugin import create
from tests.lab.registry import ADDRESS

# What stands for something else in the laboratory; Debian 12 has Compose as a command of its own.
SUBSTITUTES = {"REGISTRY": ADDRESS, "docker compose": shlex.join(map(str, compose()))}
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
    # The reader has let the bridge's frames pass; the laboratory did so before.
    lab.network.on_host("iptables", "-D", "DOCKER-USER", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT")


@pytest.mark.timeout(400)
def test_every_command_of_the_documents_works(reader: Lab, tmp_path: Path) -> None:
    """A reader who types all of the README and the manual, page by page, meets no error and has nothing left over."""
    for document in RUN:
        for block in blocks(document.read_text()):
            if block.reason_not_run is None:
                _follow(block, f"{document.name}:{block.line}", reader, tmp_path)


def _follow(block: Block, place: str, machine: Lab, directory: Path) -> None:
    """Run a block of commands, save a file; raises CommandFailed, whose text has the commands."""
    if block.language == "sh":
        _run(block.text, machine, directory)
    elif block.file is not None:
        (directory / block.file).write_text(block.text)
    elif block.language not in LANGUAGES_OF_OUTPUT:
        raise AssertionError(f"{place}: neither run nor saved, and no reason is given")


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
        run(*shell, env=environment, stdin=b"y\n")
