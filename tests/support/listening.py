"""Serves in the test's own process, on a free port."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from transport.listener import Listener

BACKLOG = 1024


@asynccontextmanager
async def listening(
    http_server: HTTPServer, listener: Listener | None, buffer: int | None = None
) -> AsyncIterator[str]:
    """Serve on a free port, yield `HOST:PORT`, and close every connection on leaving.

    Connections are accepted by the listener or, without one, by the HTTP server itself. `buffer`
    limits, in bytes, what the kernel keeps of each connection.
    """
    (sock,) = bind_sockets(0, "127.0.0.1", backlog=BACKLOG)
    if buffer is not None:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, buffer)  # Accepted sockets inherit it.
    host, port = sock.getsockname()
    if listener is None:
        http_server.add_sockets([sock])
    else:
        await listener.add_sockets([sock], BACKLOG)
    try:
        yield f"{host}:{port}"
    finally:
        if listener is not None:
            listener.stop()
        http_server.stop()
        await http_server.close_all_connections()
