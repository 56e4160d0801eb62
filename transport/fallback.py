"""Tornado's own protocol, for connections that `LoopProtocol` cannot serve."""

from asyncio import Future
from collections.abc import Coroutine
from time import perf_counter
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.websocket import WebSocketHandler

from transport.connection import UNHEARD, Limits
from transport.http_stream import HTTPStream
from transport.private import TornadoProtocol
from transport.timekeeper import Timekeeper, acknowledged, unacknowledged


class StreamProtocol(Timekeeper, TornadoProtocol):
    """Tornado's protocol, which also counts what is unsent and notices that a peer is gone.

    To its peer it behaves as `LoopProtocol` does.
    """

    unsent = 0
    """Bytes of messages that the operating system has not taken yet."""

    def __init__(self, handler: WebSocketHandler, limits: Limits) -> None:
        TornadoProtocol.__init__(self, handler, limits.max_message_size)
        self.start_keeping_time(limits)

    # The handshake

    def accept_connection(self, handler: WebSocketHandler) -> Coroutine[Any, Any, None]:
        stream = cast(HTTP1Connection, handler.request.connection).stream
        if isinstance(stream, HTTPStream):
            stream.upgraded()
        return super().accept_connection(handler)

    # Writing

    def write_text(self, text: bytes) -> None:
        """Write a text message that is UTF-8 already; do nothing once closing."""
        if not self.is_closing():
            self.write_message(text)

    def write_later(self, text: bytes) -> None:
        """Write a text message as `write_text` does."""
        self.write_text(text)

    def write_message(
        self, message: str | bytes | dict[str, Any], binary: bool = False
    ) -> "Future[None]":
        before = self.bytes_written
        written = super().write_message(message, binary)
        length = self.bytes_written - before
        self.unsent += length

        def on_written(written: "Future[None]") -> None:
            self.unsent -= length
            self._liveness.backlog_taken()
            if not written.cancelled():
                written.exception()  # Marks it as seen: nobody awaits it.

        written.add_done_callback(on_written)
        return written

    def write_ping(self, data: bytes) -> None:
        if not self.stream.closed():
            super().write_ping(data)

    # What the timekeeper asks

    def bytes_received(self) -> None:
        self._liveness.heard = perf_counter()

    def _untaken(self) -> int:
        if self.stream.closed():
            return 0
        return self.buffered + unacknowledged(self.stream.socket)

    def _acknowledged(self) -> int | None:
        return acknowledged(self.stream.socket)

    def _backlog(self) -> int:
        return self._untaken() if self.unsent else 0

    def _is_reading(self) -> bool:
        return True

    # The end

    def _give_up(self) -> None:
        handler = cast(WebSocketHandler, self.handler)
        handler.close(*UNHEARD)
        # What still comes does not matter, and the handler need not wait for the end.
        self.client_terminated = True
        handler.on_connection_close()

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        super().close(code, reason)
        if self.stop_waiting():
            # Tornado gives a peer that is still reading no more than its five seconds.
            self._wait_for_end()
        elif self.stream.closed():
            self._set_timer(None)

    def abort(self) -> None:
        """End the connection at once; the handler is told soon after."""
        TornadoProtocol.abort(self)
