"""The WSGI application: routes, bodies, how many long answers there are at once, and the one shape of every error.

Owns HTTP: methods, sizes, status codes. Must not know the engine's field names, nor which server runs it. It looks
neither at Content-Type nor at Host: engines send none of the first and anything as the second.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus

import falcon

from api import actions, ops, protocol
from api.answers import Reply
from api.fields import Fields, Json, decode
from api.query import Query
from supervisor.contract import errors
from supervisor.contract import messages as m
from supervisor.contract.client import Caller

BODY_LIMIT_BYTES = 1 << 20
# A client that is still sending when its connection closes may never see the answer, so some of a body that is too
# large is read and dropped.
DRAIN_LIMIT_BYTES = 32 << 20

_log = logging.getLogger(__name__)

_STATUSES: dict[type[errors.RequestError], HTTPStatus] = {
    errors.InvalidRequest: HTTPStatus.BAD_REQUEST,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Failed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
}


App = falcon.App[falcon.Request, falcon.Response]


def create_app(client: Caller) -> App:
    """The application over the supervisor that `client` reaches."""
    app = falcon.App()
    for method, answer in protocol.FIXED_ANSWERS.items():
        app.add_route(f"/{method}", _Fixed(answer))
    app.add_route(f"/{protocol.GET_CAPABILITIES}", _Capabilities(client))
    for method in protocol.PARSERS:
        app.add_route(f"/{method}", _Call(client, method))
    add_questions(app, client, with_changes=True)
    for path, action in actions.PATHS.items():
        app.add_route(path, _Action(client, action))
    return app


def add_questions(app: App, client: Caller, *, with_changes: bool) -> None:
    """The questions of operators, and the one shape of errors. The description tells of changes where they are made."""
    app.add_route("/openapi.json", _Description(with_changes=with_changes))
    for path, how in ops.PATHS.items():
        app.add_route(path, _Question(client, path, how))
    app.set_error_serializer(_serialise)
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(errors.RequestError, _refused)


class Resource:
    """falcon would answer OPTIONS by itself, with an empty body."""

    allowed = "POST"

    def on_options(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        raise falcon.HTTPMethodNotAllowed([self.allowed])


class _Fixed(Resource):
    """A call with the same answer at all times."""

    def __init__(self, answer: Json) -> None:
        self._answer = answer

    def on_post(self, _req: falcon.Request, resp: falcon.Response) -> None:
        _write(resp, self._answer)


class _Capabilities(Resource):
    """The engine asks when it registers the driver. It gets its answer whatever the supervisor says."""

    def __init__(self, client: Caller) -> None:
        self._client = client

    def on_post(self, _req: falcon.Request, resp: falcon.Response) -> None:
        with suppress(errors.RequestError):
            self._client.call(m.GetCapabilities())
        _write(resp, protocol.CAPABILITIES)


class _Call(Resource):
    """A call that the supervisor answers; goes on to its end even if its client has gone."""

    def __init__(self, client: Caller, method: str) -> None:
        self._client = client
        self._method = method

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        body = protocol.parse(self._method, _read(req))
        _write(resp, protocol.encode(self._client.call(body)))


class _Question(Resource):
    """A question of the ops surface."""

    allowed = "GET"

    def __init__(self, client: Caller, path: str, how: ops.Path) -> None:
        self._client = client
        self._path = path
        self._how = how
        self._places = None if how.at_once is None else threading.BoundedSemaphore(how.at_once)

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str = "") -> None:
        """A place is taken until the answer has been sent, or cannot be sent."""
        asked = ops.Asked(self._client, Query(req.params, self._how.parameters), req.get_header, name)
        if self._places is None:
            _send(resp, self._how.answer(asked))
            return
        if not self._places.acquire(blocking=False):
            raise errors.Unavailable(
                f"{self._how.at_once} answers of {self._path} are being read already; try again later"
            )
        try:
            reply = self._how.answer(asked)
        except BaseException:
            self._places.release()
            raise
        _send(resp, reply, self._places.release)


class _Description(Resource):
    """What this application answers."""

    allowed = "GET"

    def __init__(self, *, with_changes: bool) -> None:
        self._with_changes = with_changes

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        Query(req.params, ())
        from api import openapi  # most plugins are never asked for it

        _write(resp, openapi.document(with_changes=self._with_changes))


class _Action(Resource):
    """A change that an operator makes."""

    def __init__(self, client: Caller, action: actions.Action) -> None:
        self.allowed = action.method
        self._client = client
        self._action = action
        setattr(self, f"on_{action.method.lower()}", self._carry_out)

    def _carry_out(self, req: falcon.Request, resp: falcon.Response, name: str | None = None) -> None:
        Query(req.params, ())
        body = _read(req)
        _send(resp, actions.carry_out(self._client, self._action, name, decode(body) if body else Fields({})))


class _Stream:
    """A body in parts. The server calls `close` when it is sent, and when it cannot be sent."""

    def __init__(self, parts: Iterator[bytes], close: Callable[[], None]) -> None:
        self._parts = parts
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._parts
        except errors.RequestError as error:  # only an end without its last chunk tells the client now
            raise ConnectionAbortedError(f"an answer broke off: {error}") from error


def _send(resp: falcon.Response, reply: Reply, sent: Callable[[], None] | None = None) -> None:
    resp.status, resp.content_type = reply.status, reply.content_type
    if reply.encoding is not None:
        resp.set_header("Content-Encoding", reply.encoding)
    if sent is None:
        resp.data = b"".join(reply.parts)
    else:
        resp.stream = _Stream(reply.parts, sent)


def _read(req: falcon.Request) -> bytes:
    """The whole body. From the raw stream, as falcon's bounded one is empty without a Content-Length (chunked)."""
    try:
        body: bytes = req.stream.read(BODY_LIMIT_BYTES + 1)
        if len(body) > BODY_LIMIT_BYTES:
            _drain(req)
            raise falcon.HTTPContentTooLarge(description=f"the request's body exceeds {BODY_LIMIT_BYTES} bytes")
    except OSError as error:
        raise errors.InvalidRequest(f"the request's body could not be read: {error}") from error
    if req.content_length is not None and len(body) < req.content_length:
        raise errors.InvalidRequest(f"the request's body ended after {len(body)} of {req.content_length} bytes")
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


def _refused(_req: falcon.Request, _resp: falcon.Response, error: errors.RequestError, _params: dict[str, str]) -> None:
    raise falcon.HTTPError(_STATUSES[type(error)], description=str(error))


def _unexpected(req: falcon.Request, _resp: falcon.Response, error: Exception, _params: dict[str, str]) -> None:
    _log.error("%s %s failed", req.method, req.path, exc_info=error)
    raise falcon.HTTPInternalServerError(description=f"internal error: {type(error).__name__}; see the plugin's log")
