"""What it takes to connect a container again as itself: plain values for the supervisor, its jobs and the disk.

A reconnection is two calls, so the container is off the network in between. Its record is on disk before, and whoever
carries it out looks first how far it has come. Must not know the engine's API (supervisor.engine.reconnecting).
"""

from enum import StrEnum
from shlex import quote
from typing import Any

from msgspec import Struct


class Reconnection(Struct, frozen=True):
    """One container on one network: `endpoint_id` is the endpoint that is not its own, `mac` its own MAC address.

    `wish` is the EndpointConfig of the engine's API: all that the user had chosen, with the container's id as `id`.
    Docker keeps that, so the container is told apart at each later start; no other container is called by it.
    """

    container_id: str
    container: str
    network_id: str
    network: str
    endpoint_id: str
    mac: str
    wish: dict[str, Any]

    @property
    def command(self) -> str:
        """What does by hand what is left to do."""
        options = [f"--driver-opt {quote(f'{key}={value}')}" for key, value in self.wish["DriverOpts"].items()]
        aliases = [f"--alias {quote(alias)}" for alias in self.wish.get("Aliases") or ()]
        return " ".join(["docker network connect", *options, *aliases, quote(self.network), quote(self.container)])


class Impossible(Struct, frozen=True):
    """The container cannot be connected again, and nothing was changed."""

    reason: str


class End(StrEnum):
    """How a reconnection ended."""

    DONE = "done"
    NEEDLESS = "needless"  # it was connected otherwise meanwhile, stopped, or removed
    UNCHANGED = "unchanged"  # it could not be taken off the network, and has what it had
    OFF = "off"  # it is off the network


class Outcome(Struct, frozen=True):
    """`seconds` is how long the container was without its network, None if another process had taken it off."""

    end: End
    seconds: float | None = None
    reason: str = ""
