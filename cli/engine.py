"""The Docker Engine, by its SDK, which takes a while to load: it is asked only where the plugin cannot know.

Owns the SDK and the engine's JSON. Must not know the plugin's API.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from cli.errors import NotFound, NotRoot, Refused, Unreachable

if TYPE_CHECKING:
    from docker import APIClient

Json = dict[str, Any]
SOCKET = "net-dhcp.sock"
TIMEOUT_SECONDS = 60  # a start of a container may wait for a lease


@dataclass(frozen=True, slots=True)
class Installed:
    """An installation of the plugin; `name` has the tag, and is the driver's name."""

    id: str
    name: str
    enabled: bool


class Engine:
    """One engine. All methods raise Failure."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._connected: APIClient | None = None

    def plugins(self) -> list[Installed]:
        """The installations of this plugin under any name: the name of its socket identifies it."""
        with self._told():
            found: list[Json] = self._api.plugins()  # type: ignore[no-untyped-call]
            ours = (p for p in found if p.get("Config", {}).get("Interface", {}).get("Socket") == SOCKET)
            return [Installed(p["Id"], p["Name"], bool(p["Enabled"])) for p in ours]

    def info(self) -> Json:
        """`docker info`."""
        with self._told():
            answer: Json = self._api.info()
            return answer

    def api_version(self) -> str:
        """The newest version of its API."""
        with self._told():
            answer: Json = self._api.version()
            return str(answer.get("ApiVersion"))

    def networks(self, driver: str) -> list[Json]:
        """The networks with this driver."""
        with self._told():
            found: list[Json] = self._api.networks(filters={"driver": driver})
            return [network for network in found if network.get("Driver") == driver]

    def containers(self) -> list[Json]:
        """What `docker inspect` shows of each container; one that goes meanwhile is left out."""
        from docker.errors import NotFound as Missing

        with self._told():
            found = []
            for listed in self._api.containers(all=True):
                try:
                    found.append(self._api.inspect_container(listed["Id"]))
                except Missing:
                    continue
            return found

    def connect(self, container: str, network: str, settings: Json, choice: dict[str, str]) -> None:
        """Connects with these driver options, and with the aliases, links and priority that it had."""
        with self._told():
            wish: Json = self._api.create_endpoint_config(
                aliases=settings.get("Aliases") or None,
                links=_links(settings.get("Links")),
                driver_opt={**(settings.get("DriverOpts") or {}), **choice},
            )
            if priority := settings.get("GwPriority"):
                wish["GwPriority"] = priority
            self._post(f"/networks/{quote(network)}/connect", {"Container": container, "EndpointConfig": wish})

    def disconnect(self, container: str, network: str) -> None:
        """Takes the container from the network."""
        with self._told():
            self._api.disconnect_container_from_network(container, network)

    def close(self) -> None:
        """Ends the connection."""
        if self._connected is not None:
            self._connected.close()

    def _post(self, path: str, body: Json) -> None:
        """For what this version of the SDK does not know, as GwPriority. Raises its errors."""
        from docker.errors import create_api_error_from_http_exception
        from requests.exceptions import HTTPError

        url = f"{self._api.base_url}/v{self._api.api_version}{path}"
        answer = self._api.post(url, json=body, timeout=TIMEOUT_SECONDS)
        try:
            answer.raise_for_status()
        except HTTPError as error:
            create_api_error_from_http_exception(error)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The SDK's errors as ours."""
        from docker.errors import APIError, DockerException
        from docker.errors import NotFound as Missing
        from requests.exceptions import RequestException

        try:
            yield
        except Missing as error:
            raise NotFound(str(error.explanation or error)) from None
        except APIError as error:
            raise Refused(str(error.explanation or error)) from None
        except (DockerException, RequestException, OSError) as error:
            raise _silent(self.host, str(error)) from None

    @property
    def _api(self) -> "APIClient":
        if self._connected is None:
            from docker import APIClient

            _require_listening(self.host)
            self._connected = APIClient(self.host, version="auto", timeout=TIMEOUT_SECONDS)
        return self._connected


def _require_listening(host: str) -> None:
    """Raises Failure with the kernel's word, which is hidden deep in what the SDK would say."""
    if not host.startswith("unix://"):
        return
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        try:
            connection.connect(urlsplit(host).path)
        except PermissionError:
            raise NotRoot(host) from None
        except OSError as error:
            raise _silent(host, error.strerror or str(error)) from None


def _silent(host: str, why: str) -> Unreachable:
    return Unreachable(f"the Docker Engine at {host} does not answer: {why}")


def _links(links: list[str] | None) -> dict[str, str] | None:
    """`NAME:ALIAS`, as the SDK wants them."""
    return dict(link.split(":", 1) for link in links if ":" in link) if links else None
