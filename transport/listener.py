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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

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

from transport.buffers import Buffers
from transport.handshake import has_token
from transport.head import HEAD_END, MAX_HEAD_SIZE, refusal, refuse
from transport.http_stream import HTTPStream
from transport.line import Line, is_reset
from transport.newcomers import Newcomers
from transport.shared import Shared

if TYPE_CHECKING:
    from transport.tls import TLS, TLSSocket, TLSTransport

logger = logging.getLogger(__name__)

RECEIVE_BUFFER = 32 * 1024
"""Bytes that the kernel keeps of what a client has sent. Its own figure grows to megabytes, of
which the event loop takes 256 KiB of each connection at once: with a thousand that send as fast as
they can, a quarter of a gigabyte between two messages of another one. A peer that sends so much
waits for its turns anyway."""

SEND_BUFFER = 128 * 1024
"""Bytes that the kernel keeps of what a client is sent. Its own figure grows to megabytes, which
nobody counts, and a client that takes nothing is not behind before it is used up."""

LINGER = 0.5
"""Seconds in which a refused client can read the response, while what it still sends is discarded.
If the connection were closed with something unread, it would be reset and the response lost (RFC
9112, section 9.6). Go's net/http waits as long."""

_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}(?: |\Z)")
"""A method, perhaps cut off (RFC 9110, section 9.1). No registered one has more than 17 letters."""

NEARLY_FULL = 0.95
"""The part of the files that may be open beyond which newcomers have to go."""

GO_AT_ONCE = 32
"""Newcomers that have to go at a time. One alone would leave a low number to the next connection,
which then seems to have come while fewer files were open, and so on until all files are open."""

WARNING_INTERVAL = 60.0
"""Seconds between two log records that there are too many clients."""

Peer = tuple[Any, ...] | None
"""The address of a socket, which begins with host and port; None if it is not known."""

ReadFirst = Callable[[asyncio.BaseProtocol, Callable[[Peer], object]], asyncio.BaseProtocol]


class Listener:
    """Serves an application on listening sockets."""

    def __init__(
        self,
        application: Application,
        http_server: HTTPServer,
        handshake_timeout: float,
        newcomers: Newcomers,
        *,
        upgrades: bool = True,
        max_buffered: int = sys.maxsize,
        read_first: ReadFirst | None = None,
        tls: "TLS | None" = None,
    ) -> None:
        """Drop a connection whose first head has not come after `handshake_timeout` seconds.

        A connection is in `newcomers` until it becomes a WebSocket; from then on its handler says
        whether it stays. When the files become scarce, the oldest of them have to go.
        WebSockets have no more than `max_buffered` bytes in memory together (transport.buffers).

        WebSocket handlers of the application must get their protocol from `websocket_protocol`.
        `http_server` serves the same application and needs no sockets of its own. Its options apply
        to what is passed on to it: the client's address of an upgrade is that of the socket
        (`xheaders`). Without `upgrades`, requests to upgrade are passed on too.

        With `tls` every connection is over TLS, for which `http_server` has the option `protocol`
        and not `ssl_options`.

        `read_first` makes what reads the beginning of a connection, which may tell from where that
        comes, and then gives it to the protocol.
        """
        self.application = application
        self.http_server = http_server
        self.handshake_timeout = handshake_timeout
        self.upgrades = upgrades
        self.read_first = read_first
        self.shared = Shared(Buffers(max_buffered))
        self.line = Line()
        self.newcomers = newcomers
        self.tls = tls
        self.arriving: set[UpgradeConnection] = set()
        self._servers: list[asyncio.Server] = []
        self._max_files = sys.maxsize
        self._warned: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def add_sockets(self, sockets: Sequence[socket.socket], backlog: int) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._max_files = sys.maxsize if limit == resource.RLIM_INFINITY else limit
        for listening in sockets:
            # For all connections that it accepts.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            self._servers.append(
                await loop.create_server(self._protocol, sock=listening, backlog=backlog)
            )

    def _protocol(self) -> asyncio.BaseProtocol:
        connection = UpgradeConnection(self)
        protocol: asyncio.BaseProtocol = connection
        if self.tls is not None:
            protocol = self.tls.accept(connection, self.line)
        if self.read_first is not None:
            protocol = self.read_first(protocol, connection.comes_from)
        return protocol

    def accepted(self, connection: "UpgradeConnection", fd: int) -> None:
        """Take note of a connection, and warn if its file is the last one that may be open.

        uvloop refuses further connections without a word.
        """
        self.make_room(fd)
        self.newcomers.add(connection)
        self.arriving.add(connection)
        if fd == self._max_files - 1:
            self.full()

    def take_back(self, peer: Peer, sock: socket.socket, received: bytes) -> None:
        """Serve a connection of the HTTP server, of which this has come, as if it were new."""
        task = asyncio.get_running_loop().create_task(self._take_back(peer, sock, received))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_back(self, peer: Peer, sock: socket.socket, received: bytes) -> None:
        connection = UpgradeConnection(self)
        protocol: asyncio.BaseProtocol = connection
        if self.tls is not None:
            protocol = self.tls.take_back(cast("TLSSocket", sock), connection, self.line)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
        except OSError:
            sock.close()
        else:
            connection.comes_from(peer)
            connection.data_received(received)

    def make_room(self, fd: int) -> None:
        """Let the oldest newcomers go if files become scarce, of which this is a new one.

        Its number is the lowest that was free, so at least as many are open. As many newcomers as
        there are files left may stay: they need time to join, however many members there are.
        """
        excess = len(self.newcomers) - (self._max_files - fd)
        if fd >= NEARLY_FULL * self._max_files and excess > 0:
            self._warn("%d of %d files are open, the oldest newcomers have to go", fd)
            for _ in range(min(excess, GO_AT_ONCE)):
                self.newcomers.drop_oldest()

    def full(self) -> None:
        """Log, but not too often, that no more files can be opened."""
        self._warn("%d of %d files are open, no more clients can be accepted", self._max_files)

    def _warn(self, text: str, number: int) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._warned.get(text, -WARNING_INTERVAL) >= WARNING_INTERVAL:
            self._warned[text] = now
            logger.warning(text, number, self._max_files)

    def stop(self) -> None:
        """Accept no more, and drop connections whose request has not come. May be called again."""
        for server in self._servers:
            server.close()
        for connection in tuple(self.arriving):
            connection.abort()


@dataclass(slots=True)
class _Context:
    """What an `HTTPServerRequest` takes from its connection."""

    remote_ip: str
    protocol: str


class UpgradeConnection(HTTPConnection, asyncio.Protocol):
    """A connection until its protocol takes it over. The handler writes its response to it."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.shared = listener.shared
        self._received = bytearray()
        self._start_line: RequestStartLine | None = None
        self._refused = False

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.comes_from(transport.get_extra_info("peername"))
        self._listener.accepted(self, transport.get_extra_info("socket").fileno())
        self._timeout = asyncio.get_running_loop().call_later(
            self._listener.handshake_timeout, self.abort
        )

    def comes_from(self, peer: Peer) -> None:
        """Take note of where the connection comes from; a proxy may tell that later."""
        self._peer = peer
        self.context = _Context(
            peer[0] if isinstance(peer, tuple) else "0.0.0.0",
            "http" if self._listener.tls is None else "https",
        )

    def not_tls(self, transport: asyncio.Transport, data: bytes) -> None:
        """Refuse a client that does not speak TLS, on the transport below; `data` came first."""
        self._transport = transport
        if _METHOD.match(data):
            self._refuse(HTTPStatus.BAD_REQUEST, "plain HTTP on a port for HTTPS")
        else:
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        seen = len(self._received)
        # Empty lines before a request are ignored (RFC 9112, section 2.2).
        self._received += data if seen else data.lstrip(b"\r\n")
        try:
            if self._start_line is None:
                self._read_start_line(seen)
            end = HEAD_END.search(self._received, max(seen - 3, 0))
            if (end.end() if end else len(self._received)) > MAX_HEAD_SIZE:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            elif end and self._start_line is not None:
                # Until it has been taken up, nothing more is read.
                self._transport.pause_reading()
                take_up = partial(self._take_up, self._start_line, end.start(), end.end())
                self._listener.line.enter(self, take_up)
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

    def _take_up(self, start_line: RequestStartLine, head: int, end: int) -> None:
        """Refuse or route the request, whose last line and whose head end at these places."""
        if is_reset(self._transport):
            self.abort()
            return
        if status := refusal(self._received, end):
            self._refuse(status)
            return
        try:
            headers = HTTPHeaders.parse(self._received[:head].decode("latin-1").partition("\n")[2])
        except HTTPInputError:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        if not (self._listener.upgrades and _can_upgrade(start_line, headers)):
            self._pass_on()
            return
        if headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers:
            # Nobody sends a body with it, and the HTTP server would have to read that.
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        request = HTTPServerRequest(headers=headers, connection=self, start_line=start_line)
        request.method = _GET
        self._arrived()
        del self._received[:end]
        delegate = self._listener.application.find_handler(request)
        delegate.headers_received(start_line, request.headers)
        delegate.finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        self._listener.line.leave(self)
        self._listener.newcomers.discard(self)

    def _arrived(self) -> None:
        self._timeout.cancel()
        self._listener.arriving.discard(self)

    def abort(self) -> None:
        self._arrived()
        self._listener.line.leave(self)
        self._transport.abort()

    def drop(self) -> None:
        self.abort()

    # Where the connection goes

    def take(self) -> tuple[asyncio.Transport, bytes]:
        """Return the transport, of which nothing is read now, and what came after the request."""
        self._listener.newcomers.discard(self)
        return self._transport, bytes(self._received)

    def _pass_on(self) -> None:
        """Give the connection to the HTTPServer, with everything that has come."""
        server = self._listener.http_server
        try:
            fd = os.dup(self._transport.get_extra_info("socket").fileno())
        except OSError:  # This connection has the last file that may be open.
            self._listener.full()
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        self._listener.make_room(fd)
        self._arrived()
        # Closes the transport's own descriptor, and not the connection.
        self._transport.abort()
        sock = socket.socket(fileno=fd)
        if self._listener.tls is not None:
            sock = self._listener.tls.pass_on(cast("TLSTransport", self._transport), sock.detach())
        stream = HTTPStream(
            sock,
            bytes(self._received),
            self._listener.handshake_timeout,
            self._listener.line,
            self._listener.newcomers,
            partial(self._listener.take_back, self._peer) if self._listener.upgrades else None,
            max_buffer_size=server.max_buffer_size,
            read_chunk_size=server.read_chunk_size,
        )
        server.handle_stream(stream, cast(tuple[Any, ...], self._peer))

    def _refuse(self, status: HTTPStatus, reason: str = "") -> None:
        self._transport.write(refuse(status, reason))
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
        if not self._transport.is_closing():  # It may have been dropped meanwhile.
            self._transport.write(chunk)
        written = asyncio.get_running_loop().create_future()
        written.set_result(None)
        return written

    def finish(self) -> None:
        if self._refused:
            self._linger()


def _can_upgrade(start_line: RequestStartLine, headers: HTTPHeaders) -> bool:
    """Return whether the request asks for a WebSocket."""
    return start_line.method == "GET" and has_token(headers, "Upgrade", "websocket")


class _Get(str):
    """The method GET, whose `lower()` is the same string each time.

    Tornado looks the handler's method up by the name `request.method.lower()`, and CPython's method
    cache keeps thousands of such names. Strings of clients long gone would keep the memory around
    them from the operating system (docs/performance.md).
    """

    def lower(self) -> str:
        return "get"


_GET = _Get("GET")
