"""The images of the laboratory's containers, made here: it reaches no registry."""

import json
from collections.abc import Iterable
from pathlib import Path

from tests.lab.base import archive, busybox_archive, static_busybox
from tests.lab.engine import Docker

BUSYBOX = "lab-busybox"
SCRATCH = "lab-scratch"
# As pid 1 a process that does not handle SIGTERM ignores it, and each `docker stop` would take ten seconds.
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; sleep 86400 & wait"]


def import_images(docker: Docker, cache: Path) -> None:
    """Give the engine both images: busybox with its applets, and one file and nothing else."""
    busybox = static_busybox(cache)
    import_image(docker, BUSYBOX, busybox_archive(busybox), SLEEP)
    import_image(docker, SCRATCH, archive({"busybox": busybox.read_bytes()}, {}, []), ["/busybox", *SLEEP])


def import_image(docker: Docker, name: str, tar: bytes, command: list[str], changes: Iterable[str] = ()) -> None:
    """An image of one layer; `changes` are instructions of a Dockerfile, like `EXPOSE 80`."""
    options = [f"--change={change}" for change in (f"CMD {json.dumps(command)}", *changes)]
    docker("import", *options, "-", name, stdin=tar)
