"""The jobs that connect a container again as itself, over the engine's API: one looks what that takes, one does it.

Beside the watcher the only file that knows the docker SDK. Must not know which container is to be connected, nor why.
"""

import time
from multiprocessing.connection import Connection
from typing import Any

from docker.api.client import APIClient
from docker.errors import APIError, DockerException, NotFound, create_api_error_from_http_exception
from requests.exceptions import HTTPError, RequestException

from supervisor.engine.reconnection import End, Impossible, Outcome, Reconnection
from supervisor.engine.watcher import open_api

PAUSES = (0.0, 0.5, 2.0, 5.0)  # seconds before each attempt
SWARM_TASK = "com.docker.swarm.task.id"
KEPT = ("IPAMConfig", "Links", "Aliases", "GwPriority")  # the user's choices, beside DriverOpts; GwPriority from 28 on
FAILURES = (DockerException, RequestException, OSError)


def look(socket_path: str, wanted: Reconnection, channel: Connection) -> None:
    """Sends `wanted` with what the user had chosen, or Impossible."""
    try:
        client = open_api(socket_path)
        seen = client.inspect_container(wanted.container_id)
        channel.send(_with_choices(wanted, seen))
    except FAILURES as error:
        channel.send(Impossible(_reason(error)))


def carry_out(socket_path: str, wanted: Reconnection, is_begun: bool, channel: Connection) -> None:
    """Sends an Outcome. `is_begun`: another process may have taken the container off the network."""
    off_since, is_off, reason = None, is_begun, ""
    for pause in PAUSES:
        channel.poll(pause)
        try:
            client = open_api(socket_path)
            try:
                place = _place(client.inspect_container(wanted.container_id), wanted.network_id)
            except NotFound:
                break
            is_off = place is None and (is_begun or off_since is not None)
            if place is not None and place.get("EndpointID") == wanted.endpoint_id:
                off_since = time.monotonic()
                client.disconnect_container_from_network(wanted.container_id, wanted.network_id)
            elif not is_off:
                break
            is_off = True
            _connect(client, wanted)
        except FAILURES as error:
            reason = _reason(error)
        else:
            channel.send(Outcome(End.DONE, None if off_since is None else time.monotonic() - off_since))
            return
    else:
        channel.send(Outcome(End.OFF if is_off else End.UNCHANGED, reason=reason))
        return
    channel.send(Outcome(End.NEEDLESS))


def _with_choices(wanted: Reconnection, seen: dict[str, Any]) -> Reconnection | Impossible:
    place = _place(seen, wanted.network_id)
    if place is None or place.get("EndpointID") != wanted.endpoint_id:
        return Impossible("it was connected otherwise meanwhile")
    if SWARM_TASK in (seen["Config"].get("Labels") or {}):
        return Impossible("Docker's Swarm does not let a task of a service be connected again")
    chosen = {key: place[key] for key in KEPT if place.get(key)}
    options = {**(place.get("DriverOpts") or {}), "id": wanted.container_id}
    return Reconnection(
        container_id=wanted.container_id,
        container=seen["Name"].lstrip("/"),
        network_id=wanted.network_id,
        network=wanted.network,
        endpoint_id=wanted.endpoint_id,
        mac=wanted.mac,
        wish={**chosen, "DriverOpts": options},
    )


def _place(seen: dict[str, Any], network_id: str) -> dict[str, Any] | None:
    places: dict[str, dict[str, Any]] = seen["NetworkSettings"].get("Networks") or {}
    return next((place for place in places.values() if place.get("NetworkID") == network_id), None)


def _connect(client: APIClient, wanted: Reconnection) -> None:
    """Without the SDK's own call, which does not know GwPriority. Raises its errors."""
    url = f"{client.base_url}/v{client.api_version}/networks/{wanted.network_id}/connect"
    answer = client.post(url, json={"Container": wanted.container_id, "EndpointConfig": wanted.wish})
    try:
        answer.raise_for_status()
    except HTTPError as error:
        create_api_error_from_http_exception(error)


def _reason(error: Exception) -> str:
    return str(error.explanation or error) if isinstance(error, APIError) else str(error)
