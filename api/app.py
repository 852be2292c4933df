"""The WSGI application: routes, bodies, and the one shape of every error.

Owns HTTP: methods, sizes, status codes. Must not know the engine's field names, nor which server runs it. Neither
Content-Type nor Host is looked at: engines send none of the first and anything as the second.
"""

import json
import logging
from http import HTTPStatus
from typing import Protocol

import falcon

from api import ops, protocol
from api.fields import Json
from supervisor.contract.client import CALL_DEADLINE_SECONDS
from supervisor.contract.errors import (
    Conflict,
    DeadlineExceeded,
    Failed,
    InvalidRequest,
    NotFound,
    RequestError,
    Unavailable,
)
from supervisor.contract.messages import Answer, Body

BODY_LIMIT_BYTES = 1 << 20
# A client that is still sending when its connection closes may never see the answer, so some of a body that is too
# large is read and dropped.
DRAIN_LIMIT_BYTES = 32 << 20

_log = logging.getLogger(__name__)

_STATUSES: dict[type[RequestError], HTTPStatus] = {
    InvalidRequest: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Failed: HTTPStatus.INTERNAL_SERVER_ERROR,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
}


class Caller(Protocol):
    """What the application needs of `supervisor.contract.client.Client`."""

    def call(self, body: Body, deadline: float = CALL_DEADLINE_SECONDS) -> Answer:
        """The supervisor's answer; raises RequestError."""


def create_app(client: Caller) -> falcon.App[falcon.Request, falcon.Response]:
    """The application over the supervisor that `client` reaches."""
    app = falcon.App()
    for method, answer in protocol.FIXED_ANSWERS.items():
        app.add_route(f"/{method}", _Fixed(answer))
    for method in protocol.PARSERS:
        app.add_route(f"/{method}", _Call(client, method))
    for path in ops.QUESTIONS:
        app.add_route(path, _Question(client, path))
    app.set_error_serializer(_serialise)
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(RequestError, _refused)
    return app


class _Resource:
    """falcon would answer OPTIONS by itself, with an empty body."""

    allowed = "POST"

    def on_options(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        raise falcon.HTTPMethodNotAllowed([self.allowed])


class _Fixed(_Resource):
    """A call with the same answer at all times."""

    def __init__(self, answer: Json) -> None:
        self._answer = answer

    def on_post(self, _req: falcon.Request, resp: falcon.Response) -> None:
        _write(resp, self._answer)


class _Call(_Resource):
    """A call that the supervisor answers; goes on to its end even if its client has gone."""

    def __init__(self, client: Caller, method: str) -> None:
        self._client = client
        self._method = method

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        body = protocol.parse(self._method, _read(req))
        _write(resp, protocol.encode(self._client.call(body)))


class _Question(_Resource):
    """A question of the ops surface."""

    allowed = "GET"

    def __init__(self, client: Caller, path: str) -> None:
        self._client = client
        self._question = ops.QUESTIONS[path]

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        status, answer = ops.encode(self._client.call(self._question(), ops.DEADLINE_SECONDS))
        resp.status = status
        _write(resp, answer)


def _read(req: falcon.Request) -> bytes:
    """The whole body. From the raw stream, as falcon's bounded one is empty without a Content-Length (chunked)."""
    try:
        body: bytes = req.stream.read(BODY_LIMIT_BYTES + 1)
        if len(body) > BODY_LIMIT_BYTES:
            _drain(req)
            raise falcon.HTTPContentTooLarge(description=f"the request's body exceeds {BODY_LIMIT_BYTES} bytes")
    except OSError as error:
        raise InvalidRequest(f"the request's body could not be read: {error}") from error
    if req.content_length is not None and len(body) < req.content_length:
        raise InvalidRequest(f"the request's body ended after {len(body)} of {req.content_length} bytes")
    return body


def _drain(req: falcon.Request) -> None:
    for _ in range(DRAIN_LIMIT_BYTES // BODY_LIMIT_BYTES):
        if not req.stream.read(BODY_LIMIT_BYTES):
            return


def _write(resp: falcon.Response, answer: Json) -> None:
    resp.content_type = falcon.MEDIA_JSON
    resp.data = json.dumps(answer).encode()


def _serialise(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """The shape that engines show to users; falcon's own refusals (404, 405) have no description."""
    _write(resp, {"Err": error.description or f"{error.title}: {req.method} {req.path}"})


def _refused(_req: falcon.Request, _resp: falcon.Response, error: RequestError, _params: dict[str, str]) -> None:
    raise falcon.HTTPError(_STATUSES[type(error)], description=str(error))


def _unexpected(req: falcon.Request, _resp: falcon.Response, error: Exception, _params: dict[str, str]) -> None:
    _log.error("%s %s failed", req.method, req.path, exc_info=error)
    raise falcon.HTTPInternalServerError(description=f"internal error: {type(error).__name__}; see the plugin's log")
