"""What the head of a request may be, and how one is refused.

Tornado parses each line of a head for 5 µs, so 16 KiB of short lines would cost 25 ms. So lines are
counted before they are parsed.
"""

import re
from http import HTTPStatus

MAX_HEAD_SIZE = 16 * 1024
"""Bytes of a request's head, with the empty line at its end. A longer one is refused with 431."""

MAX_HEADER_LINES = 100
"""Lines of it after the first. Browsers send some twenty."""

HEAD_END = re.compile(rb"\r?\n\r?\n")
"""Lines may end in LF alone, as for Tornado (RFC 9112, section 2.2)."""

UPGRADE = re.compile(rb"\nupgrade[ \t]*:", re.IGNORECASE)
"""A header field without which no request opens a WebSocket."""


def refusal(received: bytes | bytearray, end: int) -> HTTPStatus | None:
    """Return the status with which to refuse a head that ends there, before it is parsed."""
    # All but the first line and the empty line at the end.
    if received.count(b"\n", 0, end) - 2 > MAX_HEADER_LINES:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return None


def refuse(status: HTTPStatus, reason: str = "") -> bytes:
    """Return the response to a request that is not answered by the application."""
    text = f"{status} {status.phrase}{reason and f': {reason}'}\n"
    return (
        f"HTTP/1.1 {status} {status.phrase}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(text)}\r\n"
        f"Connection: close\r\n\r\n{text}"
    ).encode()
