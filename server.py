"""The composition root: what is made of what, when it starts and how it stops (server.go)."""

import asyncio
import errno
import logging
import os
import re
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.netutil import bind_sockets
from tornado.web import Application

import process
from config.config import Config
from demo.routes import demo_routes
from handler.connections import Connections
from handler.handler import Handler
from manager.room import RoomManager
from memory import release
from repository.mem.room import RoomRepository
from transport.listener import Listener

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)

# Connections that may wait to be accepted; the kernel has the last word. Tornado's 128 are too few
# for a crowd that reconnects at once.
BACKLOG = 4096

# No request has a use for a body.
MAX_BODY_SIZE = 64 * 1024

# The original's.
PATHS = ("/health", "/connect", "/ws")

# Of a target in absolute form: what stands before the path.
_AUTHORITY = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*")


class ListenError(Exception):
    """The address cannot be listened on; the text is one line and names it."""


def make_app(manager: RoomManager, config: Config, connections: Connections) -> Application:
    """The routes. Its connections are in `connections` from their opening until they are gone."""
    collaborators = {"manager": manager, "config": config, "connections": connections}
    return Router(
        [
            (r"/health", _respond(200, "OK")),
            (r"/connect", Handler, collaborators),
            (r"/ws", Handler, collaborators),
            *(demo_routes(config.ice_servers) if config.demo else []),
            (r".*", _respond(404, "404 page not found\n")),
        ],
        websocket_max_message_size=config.max_message_size,
        websocket_ping_interval=config.ping_interval,
        websocket_ping_timeout=config.ping_timeout,
        log_function=lambda handler: None,  # Joins and leaves are logged, requests are not.
    )


class Router(Application):
    """Routes by the path as Go's `ServeMux` sees it: decoded, and without the host before it."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        # A proxy may pass on what it is asked for itself: `http://host/path` (RFC 9112, 3.2.2).
        path = _AUTHORITY.sub("", request.path) or "/"
        # Only these: what the demo serves has plain names and no others.
        request.path = unquote(path) if unquote(path) in PATHS else path
        # No request has a use for a body, and Tornado refuses those which it cannot read.
        request.headers.pop("Content-Type", None)
        return super().find_handler(request, **kwargs)


def _respond(status: int, text: str) -> Callable[[HTTPServerRequest], None]:
    """A route that answers every method alike.

    It is no RequestHandler, for that knows seven methods and refuses every other.
    """
    start_line = ResponseStartLine("", status, {200: "OK", 404: "Not Found"}[status])
    headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}

    def respond(request: HTTPServerRequest) -> None:
        connection = request.connection
        if connection is None:
            return
        body = b"" if request.method == "HEAD" else text.encode()
        connection.write_headers(start_line, HTTPHeaders(headers), body)
        connection.finish()

    return respond


async def serve(config: Config) -> None:
    """Serves until SIGTERM or SIGINT, then closes every client with 1001. Raises ListenError."""
    stop = _stop_on_signal()
    connections = Connections(crowd_gone=release)
    manager = RoomManager(RoomRepository())
    app = make_app(manager, config, connections)
    http_server = HTTPServer(
        app,
        idle_connection_timeout=config.idle_timeout,
        body_timeout=config.handshake_timeout,
        max_body_size=MAX_BODY_SIZE,
    )
    sockets = _listen(config.addr, config.port)
    _raise_file_limit()
    logger.info("transport: %s", config.transport)
    upgrades = config.transport == "auto"
    listener = Listener(app, http_server, config.handshake_timeout, upgrades=upgrades)
    await listener.add_sockets(sockets, BACKLOG)
    addresses = [_address(listening, config.addr) for listening in sockets]
    for address in addresses:
        logger.info("listening on %s", _host_port(*address))
    if config.demo:
        logger.info("demo: %s", _demo_url(*addresses[0]))

    await stop.wait()

    logger.info("stopping, %d connections to close", len(connections))
    listener.stop()
    http_server.stop()
    try:
        async with asyncio.timeout(config.shutdown_timeout):
            await connections.close_all(1001, "server is stopping")
            await http_server.close_all_connections()
    except TimeoutError:
        logger.info("%d clients did not answer in time", len(connections))
        connections.abort_all()
        await asyncio.sleep(0)  # The event loop closes what was aborted in its next iteration.
    logger.info("stopped")


def _listen(addr: str, port: int) -> list[socket.socket]:
    # Go wants an IPv6 address in brackets.
    host = addr[1:-1] if addr.startswith("[") and addr.endswith("]") else addr
    try:
        if _is_every_address(host):
            with suppress(ValueError):  # There is no IPv6, or not for IPv4 as well.
                return [_listen_on_every_address(port)]
            host = "0.0.0.0"
        return bind_sockets(port, host, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ListenError(f"cannot listen on {_host_port(addr, port)!r}: {reason}") from None


def _listen_on_every_address(port: int) -> socket.socket:
    """One socket for IPv6 and IPv4, as Go's `net.Listen` has it. Raises ValueError, OSError."""
    try:
        return socket.create_server(
            ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
        )
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise ValueError("no IPv6") from error
        # Without what Python adds to the text.
        raise OSError(error.errno, os.strerror(error.errno or 0)) from None


def _address(listening: socket.socket, addr: str) -> tuple[str, int]:
    """The address and the port of a socket; every address is named as in `addr`."""
    host, port = listening.getsockname()[:2]
    return addr if host == "::" and addr == "0.0.0.0" else host, port


def _is_every_address(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_unspecified
    return host == ""


def _raise_file_limit() -> None:
    """Allows as many open files, hence clients, as the system permits; Go programs do so too."""
    if sys.platform != "win32":
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(ValueError, OSError):
            # macOS names a hard limit that it does not grant.
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _demo_url(host: str, port: int) -> str:
    """By the name with which a browser gives a page from this machine camera and microphone."""
    local = _is_every_address(host) or host in ("127.0.0.1", "::1")
    return f"http://{_host_port('localhost' if local else host, port)}/"


def _stop_on_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT.

    Not with `loop.add_signal_handler`: it is not there on Windows, and the loop restores what ends
    the process while there still is something to close.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def set_stop() -> None:
        with suppress(RuntimeError):  # The loop is closed already.
            loop.call_soon_threadsafe(stop.set)

    process.on_stop_signal(set_stop)
    return stop
