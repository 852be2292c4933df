"""The description of the ops surface in OpenAPI 3.1, made from the paths and from the types of the answers.

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

VERSION = "1"  # of the surface: another one for what would break its users
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
    one = _operation("This description", _json({"type": "object"}), [])
    paths["/openapi.json"] = {"get": one}
    for path, how in ops.PATHS.items():
        content = _content(path, how.content, schemas)
        paths[path] = {"get": _operation(how.summary, content, _parameters(path, how.parameters), path in MAY_BE_503)}
    for path, action in actions.PATHS.items() if with_changes else ():
        operation = _operation(action.summary, _content(path, action.kind, schemas), _parameters(path, ()))
        if action.field is not None:
            operation["requestBody"] = {"required": True, "content": _json(_object({action.field: _TYPES[str]}))}
        paths[path] = {action.method.lower(): operation}
    info = {"title": "docker-net-dhcp", "version": VERSION}
    return {"openapi": "3.1.0", "info": info, "paths": dict(sorted(paths.items())), "components": {"schemas": schemas}}


def _operation(summary: str, content: Json, parameters: list[Json], may_be_503: bool = False) -> Json:
    responses: Json = {"200": {"description": "the answer", "content": content}}
    if may_be_503:
        responses["503"] = {"description": "no; the body says why", "content": content}
    refused = {"description": "the reason for a refusal", "content": _json({"$ref": "#/components/schemas/Error"})}
    return {"summary": summary, "parameters": parameters, "responses": responses | {"default": refused}}


def _content(path: str, kind: Any, schemas: dict[str, Json]) -> Json:  # noqa: ANN401  as in ops.Path
    """The media types of an answer, each with its schema."""
    if isinstance(kind, dict):
        return {media: {"schema": _schema(one, "", schemas)} for media, one in kind.items()}
    schema = _schema(kind, "", schemas)
    return _json(_object({path.rpartition("/")[2]: schema}) if get_origin(kind) is tuple else schema)


def _parameters(path: str, names: Iterable[str]) -> list[Json]:
    named = [{"name": "name", "in": "path", "required": True, "schema": _TYPES[str]}] if "{name}" in path else []
    numbers = NUMBERS if path == "/v1/events" else NUMBERS[:1]
    return named + [
        {"name": name, "in": "query", "schema": _TYPES[int if name in numbers else bool if name == "follow" else str]}
        for name in names
    ]


def _schema(kind: Any, key: str, schemas: dict[str, Json]) -> Json:  # noqa: ANN401  any annotation
    """The schema of the JSON that stands for a value of this type in a field of this name."""
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
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
