"""Tornado's own protocol, for connections that `LoopProtocol` cannot serve."""

from asyncio import Future
from typing import Any

from tornado.websocket import WebSocketHandler, WebSocketProtocol13, _WebSocketParams


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
