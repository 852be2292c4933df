"""A container's network as the kernel shows it from inside, also where nothing can be run in it: paused, no shell."""

import json
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Address
from pathlib import Path
from typing import Any

from tests.lab.command import run
from tests.lab.containers import Container


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The network namespace that a running container has now; `pid` is one of its processes'."""

    pid: int

    @classmethod
    def of(cls, container: Container) -> "Sandbox":
        """A restart makes another one."""
        return cls(int(container.inspect()["State"]["Pid"]))

    @property
    def namespace(self) -> Path:
        """Two links to the same text are the same namespace."""
        return Path(f"/proc/{self.pid}/ns/net").readlink()

    def interface(self, mac: str) -> str | None:
        """The name of the interface with this MAC."""
        return next((link["ifname"] for link in self._ip("link") if link.get("address") == mac), None)

    def mtu(self, mac: str) -> int:
        """Of the interface with this MAC."""
        return next(int(link["mtu"]) for link in self._ip("link") if link.get("address") == mac)

    def addresses(self, mac: str) -> list[IPv4Interface]:
        """The IPv4 addresses of the interface with this MAC."""
        found = (a for link in self._ip("addr") if link.get("address") == mac for a in link["addr_info"])
        return [IPv4Interface(f"{a['local']}/{a['prefixlen']}") for a in found if a["family"] == "inet"]

    def addresses6(self, mac: str) -> list[IPv6Address]:
        """The IPv6 addresses of the interface with this MAC, without the link-local one."""
        found = (a for link in self._ip("addr") if link.get("address") == mac for a in link["addr_info"])
        return [IPv6Address(a["local"]) for a in found if a["family"] == "inet6" and a["scope"] == "global"]

    def gateway(self) -> str | None:
        """Of the default route."""
        return next((route["gateway"] for route in self._ip("-4", "route", "show", "default")), None)

    def routes(self) -> dict[str, str | None]:
        """The gateway, None for a connected one, of each route but the default, by destination."""
        return {r["dst"]: r.get("gateway") for r in self._ip("-4", "route") if r["dst"] != "default"}

    def run(self, *argv: str) -> str:
        """Run a command of the machine's on the container's network; raises CommandFailed."""
        return run("nsenter", f"--net=/proc/{self.pid}/ns/net", *argv)

    def _ip(self, *words: str) -> Any:  # noqa: ANN401  (JSON)
        return json.loads(self.run("ip", "-json", *words) or "[]")
