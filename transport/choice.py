"""Chooses the protocol for a WebSocket connection."""

from functools import lru_cache
from typing import Protocol

from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler

from transport.connection import Limits
from transport.fallback import StreamProtocol
from transport.handshake import refusal
from transport.listener import UpgradeConnection
from transport.protocol import LoopProtocol


class Conn(Protocol):
    """What a handler uses of its connection (gorilla's `Conn`), whichever protocol it has."""

    @property
    def unsent(self) -> int:
        """Bytes that were written but that the operating system has not taken yet."""

    def is_closing(self) -> bool:
        """Return whether nothing can be written any more."""

    def write_text(self, text: bytes) -> None:
        """Write a text message that is UTF-8 already; do nothing once closing."""

    def write_later(self, text: bytes) -> None:
        """Write a text message that very many are sent, soon; what is written next comes after."""

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Send the close, and wait for the peer's for a limited time."""

    def abort(self) -> None:
        """End the connection at once."""


def websocket_protocol(
    handler: WebSocketHandler, limits: Limits | None = None
) -> LoopProtocol | StreamProtocol:
    """Return the protocol for a handler's connection, for its `get_websocket_protocol`.

    Without `limits` it has those of the application's settings, as Tornado documents them. It is
    `LoopProtocol`, which does not compress, if a `Listener` accepted the connection, and Tornado's
    own if an `HTTPServer` did. Raises HTTPError for a request that does not open a
    WebSocket.
    """
    status = refusal(handler.request)
    if status is not None:
        raise HTTPError(status)
    if limits is None:
        interval = handler.ping_interval or 0
        timeout = interval if handler.ping_timeout is None else handler.ping_timeout
        limits = _limits(handler.max_message_size, interval, timeout)
    connection = handler.request.connection
    if isinstance(connection, UpgradeConnection):
        return LoopProtocol(handler, limits, connection.shared)
    return StreamProtocol(handler, limits)


@lru_cache
def _limits(max_message_size: int, ping_interval: float, ping_timeout: float) -> Limits:
    """Return one value for all connections with the same limits."""
    return Limits(max_message_size, ping_interval, ping_timeout)
