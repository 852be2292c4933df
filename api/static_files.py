"""The page's files, as the package `api.page` has them.

What may be asked for is fixed when the service starts, by name: no path of a request ever reaches a file system.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

import falcon

from api.app import App, Resource

PAGE = "index.html"
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file; `tag` changes with its content."""

    content: bytes
    content_type: str
    tag: str


def load() -> dict[str, StaticFile]:
    """All files of the page, by name."""
    found = {}
    for one in files("api.page").iterdir():
        content_type = CONTENT_TYPES.get(f".{one.name.rpartition('.')[2]}")
        if content_type is not None and one.is_file():
            content = one.read_bytes()
            found[one.name] = StaticFile(content, content_type, hashlib.sha256(content).hexdigest()[:32])
    return found


def add_files(app: App) -> None:
    """`/` is the page, and `/static/NAME` one of its files."""
    found = load()
    app.add_route("/", _Page(found))
    app.add_route("/static/{name}", _Static(found))


class _Static(Resource):
    allowed = "GET"

    def __init__(self, found: dict[str, StaticFile]) -> None:
        self._files = found

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """The file, or that the client's copy is still right."""
        one = self._files.get(name)
        if one is None:
            raise falcon.HTTPNotFound(description=f"the page has no file of this name; it has {', '.join(self._files)}")
        resp.etag, resp.cache_control = one.tag, ["no-cache"]
        if req.if_none_match and any(tag in ("*", one.tag) for tag in req.if_none_match):
            resp.status = falcon.HTTP_304
        else:
            resp.content_type, resp.data = one.content_type, one.content


class _Page(_Static):
    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str = PAGE) -> None:
        """As for any other of its files."""
        super().on_get(req, resp, name)
