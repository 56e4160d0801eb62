"""The private names of Tornado that this package uses; hence `tornado~=6.6.0`.

No other module uses one. A new minor version of Tornado may change any of them: read its
`websocket.py`, `http1connection.py` and `iostream.py`, then run the tests.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders
from tornado.iostream import IOStream, UnsatisfiableReadError
from tornado.util import _websocket_mask
from tornado.web import RequestHandler
from tornado.websocket import (
    WebSocketHandler,
    WebSocketProtocol,
    WebSocketProtocol13,
    _WebSocketParams,
)

from transport.handshake import key

unmask: Callable[[bytes, bytes], bytes] = _websocket_mask
"""Apply a masking key. It is in C; Python would be fifty times as slow."""


def reason_phrase(handler: RequestHandler) -> str:
    """Return the reason phrase of the handler's status, for which there is no public getter."""
    return handler._reason


class HandlerProtocol(WebSocketProtocol):
    """What a `WebSocketHandler` requires of a protocol that is not Tornado's own."""

    def call_handler(
        self, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> "asyncio.Future[Any] | None":
        """Call a method of the handler as Tornado does: log what it raises, and abort.

        Return a Future to wait for if the method is a coroutine.
        """
        return self._run_callback(callback, *args, **kwargs)

    def abort(self) -> None:
        """End the connection at once."""
        raise NotImplementedError

    def _abort(self) -> None:
        self.abort()  # Tornado calls this when the handler has raised.

    # Only for Tornado's WebSocket clients, which have a protocol of their own.

    def _process_server_headers(self, key: str | bytes, headers: HTTPHeaders) -> None:
        raise NotImplementedError

    async def _receive_frame_loop(self) -> None:
        raise NotImplementedError


class TornadoProtocol(WebSocketProtocol13):
    """Tornado's own protocol, with changes to its inside."""

    def __init__(self, handler: WebSocketHandler, max_message_size: int) -> None:
        # There is no public class for its parameters. Without an interval it sends no pings.
        params = _WebSocketParams(
            max_message_size=max_message_size,
            compression_options=handler.get_compression_options(),
        )
        WebSocketProtocol13.__init__(self, handler, False, params)

    def bytes_received(self) -> None:
        """Take note that something has come."""

    # The handshake

    async def accept_connection(self, handler: WebSocketHandler) -> None:
        # Otherwise an HTTP/1.0 connection would end with the response.
        cast(HTTP1Connection, handler.request.connection)._disconnect_on_finish = False
        await super().accept_connection(handler)

    def _handle_websocket_headers(self, handler: WebSocketHandler) -> None:
        """Do nothing: `websocket_protocol` has checked them. Tornado wants a Host, even in 1.0."""

    def _challenge_response(self, handler: WebSocketHandler) -> str:
        return self.compute_accept_value(key(handler.request.headers))

    def _parse_extensions_header(self, headers: HTTPHeaders) -> list[tuple[str, dict[str, str]]]:
        if self._compression_options is None:
            return []  # None is supported, and Tornado's parser raises for some.
        return super()._parse_extensions_header(headers)

    # The connection

    def abort(self) -> None:
        """End the connection at once; the handler is told soon after."""
        self._abort()

    @property
    def bytes_written(self) -> int:
        """Bytes written so far; the difference shows how long a frame has become."""
        return self._wire_bytes_out

    @property
    def buffered(self) -> int:
        """Bytes that the operating system has not taken yet, control frames included."""
        return len(self.stream._write_buffer)

    async def _read_bytes(self, n: int) -> bytes:
        # In pieces as they come: a peer that takes long to send a large frame is there too.
        data = bytearray()
        while True:
            data += await self.stream.read_bytes(n - len(data), partial=True)
            self.bytes_received()
            if len(data) == n:
                self._wire_bytes_in += n
                return bytes(data)

    def stop_waiting(self) -> bool:
        """Stop the wait for the end that Tornado begins in `close`; return whether it waited."""
        if self._waiting is None:
            return False
        self.stream.io_loop.remove_timeout(self._waiting)
        self._waiting = None
        return True


class HeadStream(IOStream):
    """A stream that tells how much it has read ahead, and that searches nothing twice.

    Tornado searches all that has come of a head whenever more comes, twice: a head of 16 KiB that
    comes byte by byte would cost seconds.
    """

    _searched = 0

    def __init__(self, sock: socket.socket, **options: int | None) -> None:
        super().__init__(sock, **options)

    @property
    def unread(self) -> int:
        return self._read_buffer_size

    def read_ahead(self) -> bytes:
        """Return what has been read and nobody has asked for."""
        return bytes(self._read_buffer)

    def _find_read_pos(self) -> int | None:
        if self._read_regex is None:
            return super()._find_read_pos()
        # The four bytes of an end may come one by one.
        found = self._read_regex.search(self._read_buffer, max(self._searched - 3, 0))
        size = found.end() if found else self._read_buffer_size
        self._searched = 0 if found else size
        if self._read_max_bytes is not None and size > self._read_max_bytes:
            raise UnsatisfiableReadError
        return size if found else None
