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
from transport.shared import Shared


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

    Without `limits` it has those of the application's settings, as Tornado documents them, and of
    one more, `websocket_byte_rate`. It is `LoopProtocol`, which does not compress, if a `Listener`
    accepted the connection, and Tornado's own, which has no byte rate, if an `HTTPServer` did.
    Raises HTTPError for a request that does not open a WebSocket.
    """
    status = refusal(handler.request)
    if status is not None:
        raise HTTPError(status)
    limits = limits or limits_of(handler)
    connection = handler.request.connection
    if isinstance(connection, UpgradeConnection):
        return loop_protocol(handler, limits, connection.shared)
    return StreamProtocol(handler, limits)


def loop_protocol(handler: WebSocketHandler, limits: Limits, shared: Shared) -> LoopProtocol:
    """Return the protocol for a connection on the event loop's own transport."""
    if limits.byte_rate:
        from transport.throttle import ThrottledProtocol

        return ThrottledProtocol(handler, limits, shared)
    return LoopProtocol(handler, limits, shared)


def limits_of(handler: WebSocketHandler) -> Limits:
    """Return the limits in the settings of the handler's application."""
    interval = handler.ping_interval or 0
    timeout = interval if handler.ping_timeout is None else handler.ping_timeout
    byte_rate = handler.settings.get("websocket_byte_rate", 0)
    return _limits(handler.max_message_size, interval, timeout, byte_rate)


@lru_cache
def _limits(
    max_message_size: int, ping_interval: float, ping_timeout: float, byte_rate: int
) -> Limits:
    """Return one value for all connections with the same limits."""
    return Limits(max_message_size, ping_interval, ping_timeout, byte_rate=byte_rate)
