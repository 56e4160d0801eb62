"""Serves the ICE servers that clients are to use, to whom the door lets in.

A page whose handshake failed asks here too, since it is not shown the response to that.
"""

import logging
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from tornado.web import HTTPError, RequestHandler

from edge.door import Door, Grant, Refused

logger = logging.getLogger(__name__)

HEADERS = {
    # Any page may read the answer: one from a forbidden origin is to learn that it is.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Retry-After",
    "Cache-Control": "no-store",
    "Content-Type": "application/json",
    "X-Content-Type-Options": "nosniff",
}

CLIENT_ID = re.compile(rb"[0-9a-v]{20}")


class IceServersHandler(RequestHandler):
    """Answers `{"iceServers": […]}`, or `{"reason": "…"}` with the status of the handshake.

    With `"ttl"`, some of the servers can be used for that many seconds. A client that is connected
    asks for new ones in time, with `?client_id=` and its id, and is answered even if nobody else is
    let in. So is one that is about to be, and knows no id yet, with `?connected=1`.
    """

    def initialize(
        self, door: Door | None, ice_servers: Callable[[Grant | None, str | None], str]
    ) -> None:
        """`ice_servers` returns the answer, in JSON, to whom was granted that.

        It is also given the id that the client says it has, which is no more than a name.
        """
        self.door = door
        self.ice_servers = ice_servers

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def get(self) -> None:
        grant = None
        query = self.request.query_arguments
        client_id = _client_id(query.get("client_id", []))
        is_connected = client_id is not None or "connected" in query
        if self.door is not None:
            try:
                grant = self.door.check(self.request, limits=not is_connected)
            except Refused as refused:
                self.set_status(refused.status)
                for name, value in refused.headers.items():
                    self.set_header(name, value)
                self.write(msgspec.json.encode({"reason": refused.reason}))
                return
        self.write(self.ice_servers(grant, client_id))

    head = get

    def options(self) -> None:
        """Allow a page to send a token (the preflight of the Fetch standard)."""
        self.set_status(HTTPStatus.NO_CONTENT)
        self.clear_header("Content-Type")
        self.set_header("Access-Control-Allow-Headers", "Authorization")
        self.set_header("Access-Control-Max-Age", "86400")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log an error without the request, whose URL may have a token."""
        if not isinstance(value, HTTPError):
            logger.error("the ICE servers could not be told", exc_info=(typ, value, tb))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", "GET, HEAD, OPTIONS")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code} {HTTPStatus(status_code).phrase}\n")


def _client_id(given: list[bytes]) -> str | None:
    """Return the id, or None if it is none that a server gives out."""
    return given[-1].decode() if given and CLIENT_ID.fullmatch(given[-1]) else None
