"""Checks from which pages clients may come (RFC 6454)."""

import re
from collections.abc import Sequence
from http import HTTPStatus

from tornado.httputil import HTTPServerRequest

from edge.door import Refused


class Origins:
    """Lets in pages from the given origins, and whatever is not a page.

    An origin is as browsers send it, in lower case and without the default port:
    `https://example.com`; or `https://*.example.com` for every name below that one. Only browsers
    send the field Origin, and no page can change it; any other program can send what it likes.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        patterns = (re.escape(origin).replace(r"\*", r"[a-z0-9_.-]+", 1) for origin in origins)
        self._allowed = re.compile("|".join(patterns))

    def check(self, request: HTTPServerRequest) -> None:
        """Raise Refused for a request from another origin, or from more than one."""
        for origin in request.headers.get_list("Origin"):
            if not self._allowed.fullmatch(origin.lower()):
                raise Refused(HTTPStatus.FORBIDDEN, "forbidden-origin")
