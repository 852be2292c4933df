"""What operators change over the plugin's own socket: the paths, their methods, and the forms of their bodies.

Must not be served over TCP.
"""

import logging
from collections.abc import Callable

from api.answers import Reply, whole
from api.asking import ask
from api.fields import Fields
from supervisor.contract.client import CALL_DEADLINE_SECONDS, Caller
from supervisor.contract.errors import InvalidRequest
from supervisor.contract.messages import (
    Done,
    EndpointView,
    ForgetBinding,
    Forgotten,
    NetworkProbed,
    PinEndpoint,
    ProbeNetwork,
    ReleaseLease,
    RenewLease,
    SetLogLevel,
)

LEASE_SECONDS = 12.0  # a server has to answer, for which the supervisor waits 8 s

Act = Callable[[Caller, str, Fields], Reply]


def _renew(client: Caller, name: str, body: Fields) -> Reply:
    _require(body)
    return whole(ask(client, RenewLease(name), EndpointView, LEASE_SECONDS))


def _release(client: Caller, name: str, body: Fields) -> Reply:
    _require(body)
    return whole(ask(client, ReleaseLease(name), EndpointView, LEASE_SECONDS))


def _pin(client: Caller, name: str, body: Fields) -> Reply:
    _require(body, "id")
    return whole(ask(client, PinEndpoint(name, body.required_text("id")), EndpointView))


def _forget(client: Caller, name: str, body: Fields) -> Reply:
    _require(body)
    return whole(ask(client, ForgetBinding(name), Forgotten))


def _probe(client: Caller, name: str, body: Fields) -> Reply:
    """It takes as long as a container of the network may wait for its lease."""
    _require(body)
    return whole(ask(client, ProbeNetwork(name), NetworkProbed, CALL_DEADLINE_SECONDS))


def _set_log_level(client: Caller, _name: str, body: Fields) -> Reply:
    """This process logs as well, and so does the one that answers the next request."""
    _require(body, "level")
    level = body.required_text("level")
    done = ask(client, SetLogLevel(level), Done)
    logging.getLogger().setLevel(level)
    return whole(done)


def _require(body: Fields, *names: str) -> None:
    """Raises InvalidRequest for a field that this request does not take."""
    for name in body.values.keys() - set(names):
        known = f"known is {', '.join(names)}" if names else "there are none here"
        raise InvalidRequest(f"unknown field {body.name(name)}; {known}")


PATHS: dict[tuple[str, str], Act] = {
    ("/v1/endpoints/{name}/renew", "POST"): _renew,
    ("/v1/endpoints/{name}/release", "POST"): _release,
    ("/v1/endpoints/{name}/pin", "POST"): _pin,
    ("/v1/bindings/{name}", "DELETE"): _forget,
    ("/v1/networks/{name}/probe", "POST"): _probe,
    ("/v1/loglevel", "PUT"): _set_log_level,
}
