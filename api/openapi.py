"""The description of the ops surface in OpenAPI 3.1, made from the paths and from the dataclasses of the answers.

So it cannot differ from the answers. Must not know how questions are answered.
"""

from collections.abc import Iterable
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from api import actions, ops
from api.answers import PRECISIONS
from api.fields import Json
from supervisor.contract.messages import (
    CheckList,
    Done,
    EndpointDetail,
    EndpointView,
    EventView,
    Forgotten,
    Health,
    LeaseView,
    NetworkProbed,
    NetworkView,
    Readiness,
    WorkerList,
)

VERSION = "1"  # of the surface: another one for what would break its users
SUMMARIES = {
    "/cli": "The command docker-dhcp that fits this version",
    "/healthz": "Is the plugin well?",
    "/metrics": "The numbers that Prometheus scrapes",
    "/openapi.json": "This description",
    "/readyz": "Would a container that is started now get its lease?",
    "/v1/checks": "What a look at the networks' parents and containers finds now",
    "/v1/endpoints": "Containers, their leases and their workers",
    "/v1/endpoints/{name}": "One endpoint, by its id or its container's name or id",
    "/v1/events": "What happened to leases",
    "/v1/leases": "Who held which address, and when",
    "/v1/networks": "The networks of this plugin",
    "/v1/workers": "The processes of the plugin and what they cost",
    "/v1/endpoints/{name}/renew": "Renew the leases now",
    "/v1/endpoints/{name}/release": "Give the leases back and obtain new ones",
    "/v1/endpoints/{name}/pin": "Keep the identity under an id",
    "/v1/bindings/{name}": "Forget an identity that no container has",
    "/v1/networks/{name}/probe": "Ask the network's LAN for a DHCP server",
    "/v1/loglevel": "Set what is logged until the plugin ends",
}
LISTS = {"/v1/endpoints": EndpointView, "/v1/leases": LeaseView, "/v1/networks": NetworkView}
ANSWERS: dict[str, type] = {
    "/healthz": Health,
    "/readyz": Readiness,
    "/v1/checks": CheckList,
    "/v1/endpoints/{name}": EndpointDetail,
    "/v1/workers": WorkerList,
    "/v1/endpoints/{name}/renew": EndpointView,
    "/v1/endpoints/{name}/release": EndpointView,
    "/v1/endpoints/{name}/pin": EndpointView,
    "/v1/bindings/{name}": Forgotten,
    "/v1/networks/{name}/probe": NetworkProbed,
    "/v1/loglevel": Done,
}
BODIES = {"/v1/endpoints/{name}/pin": "id", "/v1/loglevel": "level"}
MAY_BE_503 = ("/healthz", "/readyz")  # with the same body
NUMBERS = ("limit", "since")  # of /v1/events; elsewhere since is a time
_TYPES: dict[Any, Json] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    **{kind: {"type": "string"} for kind in (IPv4Address, IPv4Interface, IPv6Address, IPv6Interface)},
}


@cache
def document(*, with_changes: bool) -> Json:
    """The description; what changes something is only on the plugin's own socket."""
    schemas: dict[str, Json] = {"Error": {"type": "object", "required": ["Err"], "properties": {"Err": _TYPES[str]}}}
    paths: dict[str, Json] = {}
    for path in ("/openapi.json", "/v1/endpoints/{name}", *ops.PATHS):
        parameters = ops.PATHS[path].parameters if path in ops.PATHS else ()
        paths.setdefault(path, {})["get"] = _operation(path, schemas, _parameters(path, parameters))
    for path, method in actions.PATHS if with_changes else ():
        operation = _operation(path, schemas, _parameters(path, ()))
        if path in BODIES:
            operation["requestBody"] = {"required": True, "content": _json(_object({BODIES[path]: _TYPES[str]}))}
        paths.setdefault(path, {})[method.lower()] = operation
    info = {"title": "docker-net-dhcp", "version": VERSION}
    return {"openapi": "3.1.0", "info": info, "paths": dict(sorted(paths.items())), "components": {"schemas": schemas}}


def _operation(path: str, schemas: dict[str, Json], parameters: list[Json]) -> Json:
    content = _content(path, schemas)
    responses: Json = {"200": {"description": "the answer", "content": content}}
    if path in MAY_BE_503:
        responses["503"] = {"description": "no; the body says why", "content": content}
    refused = {"description": "the reason for a refusal", "content": _json({"$ref": "#/components/schemas/Error"})}
    return {"summary": SUMMARIES[path], "parameters": parameters, "responses": responses | {"default": refused}}


def _content(path: str, schemas: dict[str, Json]) -> Json:
    """The media types of an answer, each with its schema."""
    if path in LISTS:
        name = path.rpartition("/")[2]
        return _json(_object({name: {"type": "array", "items": _schema(LISTS[path], "", schemas)}}))
    if path in ANSWERS:
        return _json(_schema(ANSWERS[path], "", schemas))
    if path == "/v1/events":
        line = {"schema": _schema(EventView, "", schemas)}
        return {"application/x-ndjson": line, "text/event-stream": {"schema": _TYPES[str]}}
    if path == "/openapi.json":
        return _json({"type": "object"})
    kind = "text/plain" if path == "/metrics" else "application/octet-stream"
    return {kind: {"schema": _TYPES[str]}}


def _parameters(path: str, names: Iterable[str]) -> list[Json]:
    named = [{"name": "name", "in": "path", "required": True, "schema": _TYPES[str]}] if "{name}" in path else []
    numbers = NUMBERS if path == "/v1/events" else NUMBERS[:1]
    return named + [
        {"name": name, "in": "query", "schema": _TYPES[int if name in numbers else bool if name == "follow" else str]}
        for name in names
    ]


def _schema(kind: Any, key: str, schemas: dict[str, Json]) -> Json:  # noqa: ANN401  any annotation
    """That of the JSON that stands for a value of this type in a field of this name."""
    if key in PRECISIONS and kind is float:
        return {"type": "string", "format": "date-time"}
    if kind in _TYPES:
        return _TYPES[kind]
    if isinstance(kind, UnionType):
        return {"anyOf": [_schema(one, key, schemas) for one in get_args(kind)]}
    if get_origin(kind) is tuple:
        return {"type": "array", "items": _schema(get_args(kind)[0], key, schemas)}
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": _schema(get_args(kind)[1], key, schemas)}
    name = kind.__name__
    if name not in schemas:
        found: Json = {key: _schema(one, key, schemas) for key, one in get_type_hints(kind).items()}
        schemas[name] = _object(found)
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json) -> Json:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
