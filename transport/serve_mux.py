"""Routing requests by their path, as Go's `http.ServeMux` does."""

import re
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.web import Application

# Of a target in absolute form: what stands before the path.
_AUTHORITY = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*")


class ServeMux(Application):
    """An application whose routes see a path as Go does: decoded, and without the host before it.

    Only `paths` are decoded: files that are served beside them have plain names.

    `client_address` returns from which address a request comes, if that is not its connection's.
    """

    def __init__(
        self,
        handlers: list[Any],
        paths: Collection[str],
        client_address: Callable[[HTTPServerRequest], str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(handlers, **settings)
        self._paths = paths
        self._client_address = client_address

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        # A proxy may pass on what it is asked for itself: `http://host/path` (RFC 9112, 3.2.2).
        path = request.path
        if not path.startswith("/"):
            path = _AUTHORITY.sub("", path) or "/"
        if path not in self._paths and unquote(path) in self._paths:
            path = unquote(path)
        request.path = path
        if self._client_address is not None:
            request.remote_ip = self._client_address(request)
        # No request has a use for a body, and Tornado refuses those which it cannot read.
        if "Content-Type" in request.headers:
            del request.headers["Content-Type"]
        return super().find_handler(request, **kwargs)


def respond(status: int, text: str) -> Callable[[HTTPServerRequest], None]:
    """Return a route that answers every method alike.

    It is not a RequestHandler, which knows seven methods and refuses every other.
    """
    start_line = ResponseStartLine("", status, HTTPStatus(status).phrase)
    headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}

    def respond_to(request: HTTPServerRequest) -> None:
        connection = request.connection
        if connection is None:
            return
        body = b"" if request.method == "HEAD" else text.encode()
        connection.write_headers(start_line, HTTPHeaders(headers), body)
        connection.finish()

    return respond_to
