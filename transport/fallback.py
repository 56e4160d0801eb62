"""Tornado's own protocol, for connections that `LoopProtocol` cannot serve."""

from asyncio import Future
from time import perf_counter
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders
from tornado.websocket import WebSocketHandler, WebSocketProtocol13, _WebSocketParams

from transport.handshake import key
from transport.protocol import UNHEARD, Watched, unacknowledged

# Bytes unsent from which on it matters whether the peer takes them; asyncio's own figure.
MUCH = 64 * 1024


class StreamProtocol(Watched, WebSocketProtocol13):
    """Tornado's protocol, which also knows what it has not sent yet, and whether anybody is there.

    It waits for its peer as `LoopProtocol` does.
    """

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
            max_message_size=max_message_size,
            compression_options=handler.get_compression_options(),
        )
        WebSocketProtocol13.__init__(self, handler, False, params)
        self._init_watch(ping_interval, ping_timeout)

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
            self._backlog = 0
            if not written.cancelled():
                written.exception()  # Nobody has to look at it.

        written.add_done_callback(on_written)
        return written

    def write_ping(self, data: bytes) -> None:
        if not self.stream.closed():
            super().write_ping(data)

    async def _read_bytes(self, n: int) -> bytes:
        # As it comes, not when all is there: who takes long to send a large frame is there too.
        data = bytearray()
        while True:
            data += await self.stream.read_bytes(n - len(data), partial=True)
            self._heard = perf_counter()
            if len(data) == n:
                self._wire_bytes_in += n
                return bytes(data)

    @property
    def _full(self) -> bool:  # type: ignore[override]
        return self.unsent > MUCH

    def _untaken(self) -> int:
        if self.stream.closed():
            return 0
        return len(self.stream._write_buffer) + unacknowledged(self.stream.socket)

    def _give_up(self) -> None:
        handler = cast(WebSocketHandler, self.handler)
        handler.close(*UNHEARD)
        # Nothing that still comes is of interest, and the handler need not wait for the end.
        self.client_terminated = True
        handler.on_connection_close()

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        super().close(code, reason)
        if self._waiting is not None:
            # Not Tornado's five seconds, which are the same for who is still reading.
            self.stream.io_loop.remove_timeout(self._waiting)
            self._waiting = None
            self._wait_for_end()
        elif self.stream.closed():
            self._set_timer(None)
