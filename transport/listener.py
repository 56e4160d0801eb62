"""Accepts connections; those that become WebSockets stay on the event loop's own transport.

Tornado's `HTTPServer` gives each connection a stream and a coroutine before it knows what it is
for, and the socket would have to be taken from them again. `Listener` reads the head of the first
request itself, with Tornado's parsers. A request to upgrade goes to the application, whose handler
answers it here and whose `LoopProtocol` takes the transport over. Everything else, malformed or
unusual requests too, goes to a `HTTPServer` as if that had accepted the connection.
"""

import asyncio
import logging
import os
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
    parse_request_start_line,
)
from tornado.iostream import IOStream
from tornado.web import Application

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)

MAX_HEAD_SIZE = 64 * 1024
"""Bytes of a request's head that are waited for here; Tornado decides what to do with more."""

_HEAD_END = re.compile(rb"\r?\n\r?\n")
"""As Tornado reads it, which lets a line end in LF alone (RFC 9112, section 2.2)."""

FULL_INTERVAL = 60.0
"""Seconds after which it is worth saying again that there are too many clients."""


class Listener:
    """Serves an application on listening sockets."""

    def __init__(
        self, application: Application, http_server: HTTPServer, handshake_timeout: float
    ) -> None:
        """A head that has not come after `handshake_timeout` seconds ends its connection.

        WebSocket handlers of the application must get their protocol from `websocket_protocol`.
        `http_server` serves the same application, and needs no sockets of its own. Its options are
        for what is passed on to it: for an upgrade there is no TLS (`ssl_options`), and the
        client's address is that of the socket (`xheaders`). For either, `http_server` itself has to
        get the sockets.
        """
        self.application = application
        self.http_server = http_server
        self.handshake_timeout = handshake_timeout
        self.arriving: set[UpgradeConnection] = set()
        self._servers: list[asyncio.Server] = []
        self._max_files = sys.maxsize
        self._was_full = -FULL_INTERVAL

    async def add_sockets(self, sockets: Sequence[socket.socket], backlog: int) -> None:
        """Accepts connections from now on."""
        loop = asyncio.get_running_loop()
        if sys.platform != "win32":
            self._max_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        for listening in sockets:
            self._servers.append(
                await loop.create_server(
                    lambda: UpgradeConnection(self), sock=listening, backlog=backlog
                )
            )

    def accepted(self, connection: "UpgradeConnection", fd: int) -> None:
        """A connection has come; says so if it has the last of the files that may be open.

        Whoever comes then is refused, which uvloop does without a word.
        """
        self.arriving.add(connection)
        if fd == self._max_files - 1:
            now = asyncio.get_running_loop().time()
            if now - self._was_full >= FULL_INTERVAL:
                self._was_full = now
                logger.warning("%d files are open, no more clients can be accepted", fd + 1)

    def stop(self) -> None:
        """Accepts no more and drops those whose request has not come; may be called again."""
        for server in self._servers:
            server.close()
        for connection in tuple(self.arriving):
            connection.abort()


@dataclass(frozen=True, slots=True)
class _Context:
    """What a `HTTPServerRequest` takes from its connection."""

    remote_ip: str
    protocol: str = "http"


class UpgradeConnection(HTTPConnection, asyncio.Protocol):
    """A connection until somebody takes it; to the handler, what it writes its response to."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._received = bytearray()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.context = _Context(peer[0] if isinstance(peer, tuple) else "0.0.0.0")
        self._listener.accepted(self, transport.get_extra_info("socket").fileno())
        self._timeout = asyncio.get_running_loop().call_later(
            self._listener.handshake_timeout, self.abort
        )

    def data_received(self, data: bytes) -> None:
        seen = max(len(self._received) - 3, 0)
        self._received += data
        end = _HEAD_END.search(self._received, seen)
        if end is None:
            if len(self._received) > MAX_HEAD_SIZE:
                self._pass_on()
            return
        if end[0] != b"\r\n\r\n":
            self._pass_on()
            return
        try:
            start_line, headers = _parse(self._received[: end.start()].decode("latin-1"))
            request = HTTPServerRequest(headers=headers, connection=self, start_line=start_line)
        except HTTPInputError:
            self._pass_on()
            return
        if not _can_upgrade(start_line, headers):
            self._pass_on()
            return
        request.method = _GET
        self._arrived()
        # Until the protocol takes over: its handler must not get what it has not asked for.
        self._transport.pause_reading()
        del self._received[: end.end()]
        delegate = self._listener.application.find_handler(request)
        delegate.headers_received(start_line, request.headers)
        delegate.finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()

    def _arrived(self) -> None:
        self._timeout.cancel()
        self._listener.arriving.discard(self)

    def abort(self) -> None:
        self._arrived()
        self._transport.abort()

    # Where the connection goes

    def take(self) -> tuple[asyncio.Transport, bytes]:
        """The transport, which is not being read, and what has come behind the request."""
        return self._transport, bytes(self._received)

    def _pass_on(self) -> None:
        """Gives the connection to the HTTPServer, with all that has come."""
        self._arrived()
        server = self._listener.http_server
        address = self._transport.get_extra_info("peername")
        fd = os.dup(self._transport.get_extra_info("socket").fileno())
        # Closes the transport's own descriptor, and not the connection.
        self._transport.abort()
        stream = _PreReadStream(
            socket.socket(fileno=fd),
            bytes(self._received),
            max_buffer_size=server.max_buffer_size,
            read_chunk_size=server.read_chunk_size,
        )
        server.handle_stream(stream, address)

    # What the handler calls

    def set_close_callback(self, callback: object) -> None:
        """Whether the client goes away in these few moments is of no interest."""

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> "asyncio.Future[None]":
        """Writes the head of the response; one that refuses the upgrade is the last."""
        _, code, reason = cast(ResponseStartLine, start_line)
        self._refused = code != 101
        if self._refused:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {code} {reason}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        return self.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (chunk or b""))

    def write(self, chunk: bytes) -> "asyncio.Future[None]":
        self._transport.write(chunk)
        written = asyncio.get_running_loop().create_future()
        written.set_result(None)
        return written

    def finish(self) -> None:
        if self._refused:
            self._transport.close()


def _parse(head: str) -> tuple[RequestStartLine, HTTPHeaders]:
    """Raises HTTPInputError."""
    first, _, fields = head.partition("\r\n")
    return parse_request_start_line(first), HTTPHeaders.parse(fields)


def _can_upgrade(start_line: RequestStartLine, headers: HTTPHeaders) -> bool:
    """Whether the request is one for a WebSocket (RFC 6455, section 4.1), and has no body."""
    return (
        start_line.method == "GET"
        and start_line.version == "HTTP/1.1"
        and headers.get("Upgrade", "").lower() == "websocket"
        and "Content-Length" not in headers
        and "Transfer-Encoding" not in headers
    )


class _Get(str):
    """The method GET, whose `lower()` is the same string each time.

    Tornado finds the handler's method by the name `request.method.lower()`, and CPython's method
    cache keeps thousands of the names that it was asked for: strings of clients long gone, each of
    which kept the memory around it from the operating system (docs/performance.md).
    """

    def lower(self) -> str:
        return "get"


_GET = _Get("GET")


class _PreReadStream(IOStream):
    """A stream some of which has been read already."""

    def __init__(
        self,
        sock: socket.socket,
        pre_read: bytes,
        max_buffer_size: int | None,
        read_chunk_size: int | None,
    ) -> None:
        self._pre_read = memoryview(pre_read)
        super().__init__(sock, max_buffer_size=max_buffer_size, read_chunk_size=read_chunk_size)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if not self._pre_read:
            return super().read_from_fd(buf)
        length = min(len(buf), len(self._pre_read))
        buf[:length] = self._pre_read[:length]
        self._pre_read = self._pre_read[length:]
        return length
