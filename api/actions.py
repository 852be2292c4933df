"""What operators change over the plugin's own socket: the paths, their methods, and the forms of their bodies.

Must not be served over TCP.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from api.answers import Reply, whole
from api.fields import Fields
from supervisor.contract import messages as m
from supervisor.contract.client import CALL_DEADLINE_SECONDS, DEADLINE_SECONDS, Caller, ask
from supervisor.contract.errors import InvalidRequest

LEASE_SECONDS = 12.0  # a server has to answer, for which the supervisor waits 8 s


@dataclass(frozen=True, slots=True)
class Action:
    """One change. Its `message` is made of the name in the path, if there is one, and of the body's only `field`.

    `kind` is that of the answer, which comes within so many `seconds`.
    """

    method: str
    summary: str
    message: Callable[..., m.Action | m.ProbeNetwork]
    kind: type[m.View]
    seconds: float = DEADLINE_SECONDS
    field: str | None = None


PATHS: dict[str, Action] = {
    "/v1/endpoints/{name}/renew": Action("POST", "Renew the leases now", m.RenewLease, m.EndpointView, LEASE_SECONDS),
    "/v1/endpoints/{name}/release": Action(
        "POST", "Give the leases back and obtain new ones", m.ReleaseLease, m.EndpointView, LEASE_SECONDS
    ),
    "/v1/endpoints/{name}/pin": Action(
        "POST", "Keep the identity under an id", m.PinEndpoint, m.EndpointView, field="id"
    ),
    "/v1/bindings/{name}": Action("DELETE", "Forget an identity that no container has", m.ForgetBinding, m.Forgotten),
    "/v1/networks/{name}/probe": Action(
        "POST", "Ask the network's LAN for a DHCP server", m.ProbeNetwork, m.NetworkProbed, CALL_DEADLINE_SECONDS
    ),
    "/v1/loglevel": Action("PUT", "Set what is logged until the plugin ends", m.SetLogLevel, m.Done, field="level"),
}


def carry_out(client: Caller, action: Action, name: str | None, body: Fields) -> Reply:
    """The answer. Raises RequestError; InvalidRequest for a field that this change does not take."""
    for key in body.values.keys() - {action.field}:
        known = f"known is {action.field}" if action.field else "there are none here"
        raise InvalidRequest(f"unknown field {body.name(key)}; {known}")
    named = () if name is None else (name,)
    message = action.message(*named, *((body.required_text(action.field),) if action.field else ()))
    done = ask(client, message, action.kind, action.seconds)
    if isinstance(message, m.SetLogLevel):  # this process logs as well, and so does the one that answers next
        logging.getLogger().setLevel(message.level)
    return whole(done)
