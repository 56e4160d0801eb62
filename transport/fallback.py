"""Tornado's own protocol, for connections that `LoopProtocol` cannot serve."""

from asyncio import Future
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders
from tornado.websocket import WebSocketHandler, WebSocketProtocol13, _WebSocketParams

from transport.handshake import key


class StreamProtocol(WebSocketProtocol13):
    """Tornado's protocol, which also knows what it has not sent yet."""

    unsent = 0
    """Bytes of messages that were written and that the operating system has not taken yet."""

    def __init__(
        self,
        handler: WebSocketHandler,
        max_message_size: int,
        ping_interval: float,
        ping_timeout: float,
    ) -> None:
        """Sizes in bytes, times in seconds, as for `LoopProtocol`."""
        params = _WebSocketParams(
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            max_message_size=max_message_size,
            compression_options=handler.get_compression_options(),
        )
        super().__init__(handler, False, params)

    async def accept_connection(self, handler: WebSocketHandler) -> None:
        # Or an HTTP/1.0 connection would end with the response.
        cast(HTTP1Connection, handler.request.connection)._disconnect_on_finish = False
        await super().accept_connection(handler)

    def _handle_websocket_headers(self, handler: WebSocketHandler) -> None:
        """Nothing: `websocket_protocol` has judged them, and Tornado wants a Host of HTTP/1.0."""

    def _challenge_response(self, handler: WebSocketHandler) -> str:
        return self.compute_accept_value(key(handler.request.headers))

    def _parse_extensions_header(self, headers: HTTPHeaders) -> list[tuple[str, dict[str, str]]]:
        if self._compression_options is None:
            return []  # None is used, and Tornado's parser raises for some.
        return super()._parse_extensions_header(headers)

    def abort(self) -> None:
        """Ends the connection at once; the handler is told soon after."""
        self._abort()

    def write_text(self, text: bytes) -> None:
        """Writes a text message that is UTF-8 already; once closing, does nothing."""
        if not self.is_closing():
            self.write_message(text)

    def write_message(
        self, message: str | bytes | dict[str, Any], binary: bool = False
    ) -> "Future[None]":
        before = self._wire_bytes_out
        written = super().write_message(message, binary)
        length = self._wire_bytes_out - before
        self.unsent += length

        def on_written(written: "Future[None]") -> None:
            self.unsent -= length
            if not written.cancelled():
                written.exception()  # Nobody has to look at it.

        written.add_done_callback(on_written)
        return written
