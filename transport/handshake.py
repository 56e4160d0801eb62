"""Which requests open a WebSocket (RFC 6455, section 4.2.1), as gorilla's `Upgrade` decides."""

import re
from http import HTTPStatus

from tornado.httputil import HTTPHeaders, HTTPServerRequest

# 16 bytes in base64. The last four bits of the last character encode nothing; Go ignores them too.
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")


def refusal(request: HTTPServerRequest) -> HTTPStatus | None:
    """Return the status with which to refuse the request, or None if it opens a WebSocket.

    Only what an upgrade needs is checked. The client's origin and extensions can be anything.
    """
    headers = request.headers
    if not has_token(headers, "Connection", "upgrade"):
        return HTTPStatus.BAD_REQUEST
    if not has_token(headers, "Upgrade", "websocket"):
        return HTTPStatus.BAD_REQUEST
    if request.method != "GET":
        return HTTPStatus.METHOD_NOT_ALLOWED
    if headers.get("Sec-WebSocket-Version") != "13":
        return HTTPStatus.BAD_REQUEST
    if not _KEY.fullmatch(key(headers)):
        return HTTPStatus.BAD_REQUEST
    return None


def has_token(headers: HTTPHeaders, name: str, token: str) -> bool:
    """Return whether a list field has the token, given in lower case (RFC 9110, section 5.6.1).

    The field may come in several lines. Tokens are separated by commas and match in any case.
    """
    if headers.get(name, "").lower() == token:
        return True  # The usual case, in a third of the time.
    return any(
        element.strip(" \t").lower() == token
        for line in headers.get_list(name)
        for element in line.split(",")
    )


def key(headers: HTTPHeaders) -> str:
    """Return the first Sec-WebSocket-Key, which is the one that Go reads; empty if none."""
    return next(iter(headers.get_list("Sec-WebSocket-Key")), "")
