"""A server in the test's own process, whose handlers keep what they are told."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, WebSocketProtocol

from tests.support.certificates import server_context
from tests.support.client import TIME_LIMIT, Client, Opcode, frame
from tests.support.listening import listening
from tests.support.waiting import until
from transport.choice import websocket_protocol
from transport.connection import Limits
from transport.frames import Close, Ping, Pong
from transport.listener import Listener
from transport.newcomers import Newcomers
from transport.tls import TLS

# How much the kernel may keep in each direction. With little, it is soon full.
SMALL_BUFFER = 128 * 1024


class Recorder(WebSocketHandler):
    """Keeps what it is told, in order."""

    def initialize(self, served: Served) -> None:
        self.served = served
        self.seen: list[object] = []
        self.closed = asyncio.Event()
        self.told = 0

    def check_origin(self, origin: str) -> bool:
        return origin != "http://refused"

    def get_websocket_protocol(self) -> WebSocketProtocol:
        if not self.served.limits:
            return websocket_protocol(self)
        interval = self.ping_interval or 0
        timeout = interval if self.ping_timeout is None else self.ping_timeout
        limits = Limits(self.max_message_size, interval, timeout, **self.served.limits)
        return websocket_protocol(self, limits)

    def open(self) -> Awaitable[None] | None:
        self.set_nodelay(True)  # Otherwise small messages would wait for acknowledgements.
        self.served.opened(self)
        return None

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        self.seen.append(message)
        return None

    def on_ping(self, data: bytes) -> None:
        self.seen.append(Ping(data))

    def on_pong(self, data: bytes) -> None:
        self.seen.append(Pong(data))

    def on_ws_connection_close(
        self, close_code: int | None = None, close_reason: str | None = None
    ) -> None:
        self.told += 1
        super().on_ws_connection_close(close_code, close_reason)

    def on_close(self) -> None:
        self.seen.append(Close(self.close_code, self.close_reason))
        self.closed.set()

    async def is_closed(self) -> None:
        """Wait until `on_close` has been called."""
        async with asyncio.timeout(TIME_LIMIT):
            await self.closed.wait()


class Echo(Recorder):
    """Also answers each message with itself."""

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        super().on_message(message)
        self.write_message(message, binary=isinstance(message, bytes))
        return None


class Busy(Echo):
    """Is also busy with each message until `go` is set."""

    def initialize(self, served: Served) -> None:
        super().initialize(served)
        self.go = asyncio.Event()

    async def on_message(self, message: str | bytes) -> None:
        self.seen.append(f"begin {message!r:.20}")
        await self.go.wait()
        self.seen.append(f"end {message!r:.20}")


class Page(RequestHandler):
    """Answers requests that are not for a WebSocket."""

    def get(self) -> None:
        self.write("a page\n")

    def post(self) -> None:
        self.write(self.request.body)


class Served:
    """A server at `url`, with its parts."""

    url: str

    def __init__(
        self,
        handler: type[WebSocketHandler],
        tornado: bool,
        limits: dict[str, Any],
        listener: dict[str, Any],
        http_server: dict[str, Any],
        settings: dict[str, Any],
    ) -> None:
        self.tornado = tornado
        self.limits = limits
        routes: list[Any] = [("/echo", handler, {"served": self}), ("/", Page)]
        self.app = Application(routes, log_function=lambda handler: None, **settings)
        self.http_server = HTTPServer(self.app, **http_server)
        self.listener = Listener(self.app, self.http_server, **listener)
        self.handlers: list[Recorder] = []
        self._new: asyncio.Queue[Recorder] = asyncio.Queue()
        self._connections: list[Client] = []
        self._pairing = asyncio.Lock()

    def opened(self, handler: Recorder) -> None:
        self.handlers.append(handler)
        self._new.put_nowait(handler)

    async def handler(self) -> Any:
        """Return the handler of the next connection. Its type depends on the test."""
        async with asyncio.timeout(TIME_LIMIT):
            return await self._new.get()

    async def connect(self, **options: Any) -> Client:
        """Connect a new peer, as `Client.connect` does."""
        client = await Client.connect(self.url, **options)
        self._connections.append(client)
        return client

    async def pair(self, **options: Any) -> tuple[Client, Any]:
        """Connect a new peer and return it with its handler, whoever else connects."""
        async with self._pairing:
            return await self.connect(**options), await self.handler()

    async def open(self, **options: Any) -> Client:
        """Open a connection as `Client.open` does, without sending a request."""
        client = await Client.open(self.url, **options)
        self._connections.append(client)
        return client

    async def plain(self, **options: Any) -> Client:
        """Open a connection likewise, but without TLS."""
        client = await Client.open(self.url.replace("wss:", "ws:"), **options)
        self._connections.append(client)
        return client

    def abort(self) -> None:
        """End all connections to the server."""
        for connection in self._connections:
            connection.abort()


def connections() -> int:
    """Return how many TCP sockets this process has open, without those that listen."""
    number = 0
    for name in os.listdir("/dev/fd"):
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as sock:
                tcp = sock.family == socket.AF_INET and sock.type == socket.SOCK_STREAM
                number += tcp and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            pass  # The descriptor with which the directory was listed is closed by now.
    return number


async def answered(client: Client) -> None:
    """Wait until the server has handled all that the client sent. It must not echo anything."""
    await client.send(frame(Opcode.PING, b"answered"))
    while (await client.receive_frame()).payload != b"answered":
        pass


@asynccontextmanager
async def served(
    handler: type[WebSocketHandler] = Echo,
    *,
    tornado: bool = False,
    handshake_timeout: float = TIME_LIMIT,
    idle_timeout: float = TIME_LIMIT,
    upgrades: bool = True,
    buffer: int | None = None,
    ssl_options: SSLContext | None = None,
    tls: bool = False,
    limits: dict[str, Any] | None = None,
    listener: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Served]:
    """Serve through a Listener, or through Tornado's HTTPServer alone.

    `limits` are those of `Limits` that differ from its defaults, and `listener` has options of the
    Listener. `buffer` limits what the kernel keeps of each connection. With `tls` the Listener
    speaks TLS, with `ssl_options` the HTTPServer. At the end every connection is gone, every
    handler that was opened has been told so once, and nothing has failed in the background.
    """
    before = connections()  # An earlier test that failed may have left some open.
    loop = asyncio.get_running_loop()
    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: failures.append(context))
    server = Served(
        handler,
        tornado,
        limits or {},
        {
            "handshake_timeout": handshake_timeout,
            "newcomers": Newcomers(),
            "upgrades": upgrades,
            "tls": TLS(server_context) if tls else None,
            **(listener or {}),
        },
        {
            "idle_connection_timeout": idle_timeout,
            "ssl_options": ssl_options,
            "protocol": "https" if tls else None,
        },
        settings,
    )
    async with listening(
        server.http_server, None if tornado else server.listener, buffer
    ) as address:
        server.url = f"{'wss' if tls else 'ws'}://{address}/echo"
        try:
            yield server
        finally:
            server.abort()
    # Those of an earlier test may be closed meanwhile, so their number alone does not tell.
    await until(
        lambda: connections() <= before and all(handler.told for handler in server.handlers)
    )
    assert [handler.told for handler in server.handlers] == [1] * len(server.handlers)
    assert failures == []
