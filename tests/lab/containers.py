"""Containers of the laboratory, as the plugin tests handle them."""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Interface, IPv6Address
from pathlib import Path
from typing import Any

from tests.lab.command import CommandFailed
from tests.lab.engine import Docker, Engine
from tests.lab.images import BUSYBOX

PUBLISHED_ONLY = 29  # the engine's release from which its requests have published ports alone


def showing_ports(docker: Docker) -> tuple[str, ...]:
    """The options of `docker run` with which a container's exposed ports are in the engine's requests."""
    return ("--publish-all",) if docker.release >= PUBLISHED_ONLY else ()


@dataclass(frozen=True, slots=True)
class Attachment:
    """The engine's view of a container on one network; the addresses are None while it has none there."""

    endpoint_id: str
    mac: str
    address: IPv4Interface | None
    gateway: str
    address6: IPv6Address | None


@dataclass(frozen=True, slots=True)
class Container:
    """A container of one engine."""

    docker: Docker
    name: str

    @classmethod
    def run(
        cls, docker: Docker, name: str, *options: str, image: str = BUSYBOX, command: tuple[str, ...] = ()
    ) -> "Container":
        """`docker run --detach` with these options; returns when it has started."""
        docker("run", "--detach", "--name", name, *options, image, *command)
        return cls(docker, name)

    def exec(self, *argv: str) -> str:
        """Run a command in it; raises CommandFailed."""
        return self.docker("exec", self.name, *argv)

    def inspect(self) -> Any:  # noqa: ANN401  (JSON)
        """What `docker inspect` says."""
        return self.docker.inspect(self.name)

    def root(self, engine: Engine) -> Path:
        """Where its root file system is mounted while it is started and runs, as the engine sees it."""
        shown = self.inspect()
        classic = (shown.get("GraphDriver") or {}).get("Data") or {}
        return Path(classic.get("MergedDir") or engine.directory / "data/rootfs/overlayfs" / shown["Id"])

    def attachment(self, network: str) -> Attachment:
        """Its place on a network."""
        found = self.inspect()["NetworkSettings"]["Networks"][network]
        address = IPv4Interface(f"{found['IPAddress']}/{found['IPPrefixLen']}") if found["IPAddress"] else None
        address6 = IPv6Address(found["GlobalIPv6Address"]) if found["GlobalIPv6Address"] else None
        return Attachment(found["EndpointID"], found["MacAddress"], address, found["Gateway"], address6)

    def started(self) -> float:
        """When it was started last, in Unix seconds."""
        return datetime.fromisoformat(self.inspect()["State"]["StartedAt"]).timestamp()

    def stop(self) -> None:
        """`docker stop`."""
        self.docker("stop", self.name)

    def start(self) -> None:
        """`docker start`."""
        self.docker("start", self.name)

    def restart(self) -> None:
        """`docker restart`."""
        self.docker("restart", self.name)

    def remove(self) -> None:
        """`docker rm --force`; also where `--rm` has removed it already."""
        try:
            self.docker("rm", "--force", "--volumes", self.name)
        except CommandFailed as error:
            if "No such container" not in str(error):
                raise
