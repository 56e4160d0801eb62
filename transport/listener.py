"""Accepts connections. Those that become WebSockets stay on the event loop's own transport.

Tornado's `HTTPServer` gives each connection a stream and a coroutine before it knows what the
connection is for, and the socket would have to be taken from them again. `Listener` reads the head
of the first request itself, with Tornado's parsers. A request to upgrade goes to the application:
its handler writes the response here, and its `LoopProtocol` takes the transport over. Any other
request goes to an `HTTPServer`, as if that had accepted the connection. Bytes that are not a
request are refused here.
"""

import asyncio
import logging
import os
import re
import resource
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
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
from tornado.web import Application

from transport.handshake import has_token
from transport.private import HeadStream
from transport.turns import Turns

logger = logging.getLogger(__name__)

MAX_HEAD_SIZE = 64 * 1024
"""Bytes of a request's head, Tornado's own limit. A longer head is refused with 431."""

LINGER = 0.5
"""Seconds in which a refused client can read the response, while what it still sends is discarded.
If the connection were closed with something unread, it would be reset and the response lost (RFC
9112, section 9.6). Go's net/http waits as long."""

_HEAD_END = re.compile(rb"\r?\n\r?\n")
"""Lines may end in LF alone, as for Tornado (RFC 9112, section 2.2)."""

_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}(?: |\Z)")
"""A method, perhaps cut off (RFC 9110, section 9.1). No registered one has more than 17 letters."""

FULL_INTERVAL = 60.0
"""Seconds between two log records that there are too many clients."""


class Listener:
    """Serves an application on listening sockets."""

    def __init__(
        self,
        application: Application,
        http_server: HTTPServer,
        handshake_timeout: float,
        *,
        upgrades: bool = True,
    ) -> None:
        """Drop a connection whose first head has not come after `handshake_timeout` seconds.

        WebSocket handlers of the application must get their protocol from `websocket_protocol`.
        `http_server` serves the same application and needs no sockets of its own. Its options apply
        to what is passed on to it: upgrades have no TLS (`ssl_options`), and their client's address
        is that of the socket (`xheaders`). For these two, give the sockets to `http_server` itself.
        Without `upgrades`, requests to upgrade are passed on too.
        """
        self.application = application
        self.http_server = http_server
        self.handshake_timeout = handshake_timeout
        self.upgrades = upgrades
        self.turns = Turns()
        self.arriving: set[UpgradeConnection] = set()
        self._servers: list[asyncio.Server] = []
        self._max_files = sys.maxsize
        self._was_full = -FULL_INTERVAL

    async def add_sockets(self, sockets: Sequence[socket.socket], backlog: int) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        self._max_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        for listening in sockets:
            self._servers.append(
                await loop.create_server(
                    lambda: UpgradeConnection(self), sock=listening, backlog=backlog
                )
            )

    def accepted(self, connection: "UpgradeConnection", fd: int) -> None:
        """Take note of a connection. Warn if its file is the last one that may be open.

        uvloop refuses further connections without a word.
        """
        self.arriving.add(connection)
        if fd == self._max_files - 1:
            self.full()

    def full(self) -> None:
        """Log, but not too often, that no more files can be opened."""
        now = asyncio.get_running_loop().time()
        if now - self._was_full >= FULL_INTERVAL:
            self._was_full = now
            logger.warning("%d files are open, no more clients can be accepted", self._max_files)

    def stop(self) -> None:
        """Accept no more, and drop connections whose request has not come. May be called again."""
        for server in self._servers:
            server.close()
        for connection in tuple(self.arriving):
            connection.abort()


@dataclass(frozen=True, slots=True)
class _Context:
    """What an `HTTPServerRequest` takes from its connection."""

    remote_ip: str
    protocol: str = "http"


class UpgradeConnection(HTTPConnection, asyncio.Protocol):
    """A connection until its protocol takes it over. The handler writes its response to it."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.turns = listener.turns
        self._received = bytearray()
        self._start_line: RequestStartLine | None = None
        self._refused = False

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
        if self._refused:
            return
        seen = len(self._received)
        # Empty lines before a request are ignored (RFC 9112, section 2.2).
        self._received += data if seen else data.lstrip(b"\r\n")
        try:
            if self._start_line is None:
                self._read_start_line(seen)
            end = _HEAD_END.search(self._received, max(seen - 3, 0))
            if (end.end() if end else len(self._received)) > MAX_HEAD_SIZE:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            elif end and self._start_line is not None:
                self._head_received(self._start_line, end)
        except HTTPInputError:
            self._refuse(HTTPStatus.BAD_REQUEST)

    def _read_start_line(self, seen: int) -> None:
        """Raise HTTPInputError as soon as no request can begin like this, as with TLS or SSH."""
        end = self._received.find(b"\n", seen)
        if end >= 0:
            line = self._received[:end].decode("latin-1").removesuffix("\r")
            self._start_line = parse_request_start_line(line)
        elif self._received and not _METHOD.match(self._received):
            raise HTTPInputError("not HTTP")

    def _head_received(self, start_line: RequestStartLine, end: re.Match[bytes]) -> None:
        """Route the request. Raises HTTPInputError."""
        headers = HTTPHeaders.parse(
            self._received[: end.start()].decode("latin-1").partition("\n")[2]
        )
        if not (self._listener.upgrades and _can_upgrade(start_line, headers)):
            self._pass_on()
            return
        request = HTTPServerRequest(headers=headers, connection=self, start_line=start_line)
        request.method = _GET
        self._arrived()
        # The protocol, which reads on, has not taken over yet.
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
        """Return the transport, of which nothing is read now, and what came after the request."""
        return self._transport, bytes(self._received)

    def _pass_on(self) -> None:
        """Give the connection to the HTTPServer, with everything that has come."""
        server = self._listener.http_server
        address = self._transport.get_extra_info("peername")
        try:
            fd = os.dup(self._transport.get_extra_info("socket").fileno())
        except OSError:  # This connection has the last file that may be open.
            self._listener.full()
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        self._arrived()
        # Closes the transport's own descriptor, and not the connection.
        self._transport.abort()
        stream = _PassedOnStream(
            socket.socket(fileno=fd),
            bytes(self._received),
            self._listener.handshake_timeout,
            max_buffer_size=server.max_buffer_size,
            read_chunk_size=server.read_chunk_size,
        )
        server.handle_stream(stream, address)

    def _refuse(self, status: HTTPStatus) -> None:
        text = f"{status} {status.phrase}\n"
        self._transport.write(
            f"HTTP/1.1 {status} {status.phrase}\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(text)}\r\n"
            f"Connection: close\r\n\r\n{text}".encode()
        )
        self._linger()

    def _linger(self) -> None:
        """End the connection when the client has read the response, or after `LINGER` seconds."""
        if self._transport.is_closing():
            return
        self._refused = True
        self._received.clear()
        self._timeout.cancel()
        self._timeout = asyncio.get_running_loop().call_later(LINGER, self.abort)
        self._transport.write_eof()
        self._transport.resume_reading()

    # What the handler calls

    def set_close_callback(self, callback: object) -> None:
        """Do nothing: for these few moments it does not matter whether the client goes away."""

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> "asyncio.Future[None]":
        """Write the head of the response. A refusal of the upgrade ends the connection."""
        _, code, reason = cast(ResponseStartLine, start_line)
        if code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._refused = True
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
            self._linger()


def _can_upgrade(start_line: RequestStartLine, headers: HTTPHeaders) -> bool:
    """Return whether the request asks for a WebSocket and has no body to be read first."""
    return (
        start_line.method == "GET"
        and has_token(headers, "Upgrade", "websocket")
        and headers.get("Content-Length", "0") == "0"
        and "Transfer-Encoding" not in headers
    )


class _Get(str):
    """The method GET, whose `lower()` is the same string each time.

    Tornado looks the handler's method up by the name `request.method.lower()`, and CPython's method
    cache keeps thousands of such names. Strings of clients long gone would keep the memory around
    them from the operating system (docs/performance.md).
    """

    def lower(self) -> str:
        return "get"


_GET = _Get("GET")


class _PassedOnStream(HeadStream):
    """A stream of which some has been read already.

    The next request on it may be long in coming, but its head has to be complete
    `handshake_timeout` seconds after it has begun, like the first.
    """

    def __init__(
        self,
        sock: socket.socket,
        pre_read: bytes,
        handshake_timeout: float,
        max_buffer_size: int | None,
        read_chunk_size: int | None,
    ) -> None:
        self._pre_read = memoryview(pre_read)
        self._handshake_timeout = handshake_timeout
        self._awaits_head = False
        self._timeout: asyncio.TimerHandle | None = None
        super().__init__(sock, max_buffer_size=max_buffer_size, read_chunk_size=read_chunk_size)

    def read_until_regex(
        self, regex: bytes, max_bytes: int | None = None
    ) -> "asyncio.Future[bytes]":
        """Read a request's head: Tornado uses this method for nothing else."""
        self._awaits_head = True
        if self.unread:
            self._head_begins()
        head = cast("asyncio.Future[bytes]", super().read_until_regex(regex, max_bytes))
        head.add_done_callback(self._head_ends)
        return head

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if self._pre_read:
            length = min(len(buf), len(self._pre_read))
            buf[:length] = self._pre_read[:length]
            self._pre_read = self._pre_read[length:]
            return length
        number = super().read_from_fd(buf)
        if number and self._awaits_head:
            self._head_begins()
        return number

    def _head_begins(self) -> None:
        if self._timeout is None:
            loop = asyncio.get_running_loop()
            self._timeout = loop.call_later(self._handshake_timeout, self.close)

    def _head_ends(self, _: object) -> None:
        self._awaits_head = False
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
