"""The composition root: puts the server together, starts it and stops it (server.go)."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.web import Application

import capabilities
import process
from config.config import Config
from demo.routes import demo_routes
from edge.ice_servers import IceServersHandler
from handler.connections import Connections
from handler.handler import Handler
from handler.large_rooms import LargeRooms
from manager.room import RoomManager
from repository.mem.room import RoomRepository
from transport.listen import BACKLOG, host_port, listen
from transport.listener import Listener
from transport.newcomers import Newcomers
from transport.serve_mux import ServeMux, respond
from version import VERSION

if TYPE_CHECKING:
    from workers.workers import Workers

logger = logging.getLogger(__name__)

MAX_BODY_SIZE = 1024
"""Bytes of a request's body, which no request has a use for."""

PATHS = ("/health", "/ready", "/ice-servers", "/connect", "/ws")
"""The paths of the original, `/ready` and `/ice-servers`."""


def make_app(
    manager: RoomManager,
    config: Config,
    connections: Connections,
    large_rooms: LargeRooms,
    is_ready: Callable[[], bool] = lambda: True,
    client_address: Callable[[HTTPServerRequest], str] | None = None,
    **optional: Any,
) -> Application:
    """Return the application. Open connections are in `connections` until they are gone.

    `client_address` returns from which address a request comes; without it, that is its
    connection's. `optional` are the collaborators of a handler that it can do without.
    """
    collaborators = {
        "manager": manager,
        "config": config,
        "connections": connections,
        "large_rooms": large_rooms,
        **optional,
    }
    ice = {
        "door": optional.get("door"),
        "ice_servers": capabilities.ice_servers(config),
    }
    return ServeMux(
        [
            (r"/connect", Handler, collaborators),
            (r"/ws", Handler, collaborators),
            (r"/health", respond(200, "OK")),
            (r"/ready", _ready(is_ready)),
            (r"/ice-servers", IceServersHandler, ice),
            *(demo_routes() if config.demo else []),
            (r".*", respond(404, "404 page not found\n")),
        ],
        PATHS,
        client_address,
        websocket_max_message_size=config.max_message_size,
        websocket_ping_interval=config.ping_interval,
        websocket_ping_timeout=config.ping_timeout,
        websocket_byte_rate=config.byte_rate,
        log_function=lambda handler: None,  # Joins and leaves are logged, requests are not.
    )


async def serve(
    config: Config,
    sockets: Sequence[socket.socket] | None = None,
    workers: "Workers | None" = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then close every client with 1001. Raises ListenError.

    One of several workers is given the sockets, which listen already.
    """
    stop = process.stop_event()
    scavenger = process.Scavenger(asyncio.get_running_loop().call_later)
    newcomers = Newcomers()
    connections = Connections(newcomers, scavenger.count)
    large_rooms = LargeRooms()
    cluster = capabilities.cluster(config, large_rooms, workers)
    manager = cluster or RoomManager(RoomRepository(), config.max_room_size)
    client_address, read_first = capabilities.proxies(config)
    collaborators: dict[str, Any] = {
        "manager": manager,
        "config": config,
        "connections": connections,
        "large_rooms": large_rooms,
        "door": capabilities.door(config, workers),
        "workers": workers,
    }

    def is_ready() -> bool:
        return cluster is None or cluster.ready

    app = make_app(
        **collaborators,
        is_ready=is_ready if workers is None else workers.ready,
        client_address=client_address,
    )
    tls = None
    certificate = capabilities.certificate(config)
    if certificate is not None:
        from transport.tls import TLS

        tls = TLS(certificate.context)
    http_server = HTTPServer(
        app,
        protocol=None if tls is None else "https",
        idle_connection_timeout=config.idle_timeout,
        body_timeout=config.handshake_timeout,
        max_body_size=MAX_BODY_SIZE,
    )
    process.raise_file_limit()
    if sockets is None:
        sockets = listen(config.addr, config.port)
    max_buffered = config.max_buffered or process.memory_granted() // 4
    upgrades = config.transport == "auto"
    listener = Listener(
        app,
        http_server,
        config.handshake_timeout,
        newcomers,
        upgrades=upgrades,
        max_buffered=max_buffered if workers is None else max_buffered // workers.count,
        tls=tls,
        read_first=read_first,
    )
    await listener.add_sockets(sockets, BACKLOG)
    if workers is None or workers.announce:
        _announce(config, sockets)
    if workers is not None:
        from handler.moving import Moving

        moving = Moving(app, listener.shared, collaborators)
        settled = None if cluster is None else cluster.settled
        workers.start(moving.take, stop, is_ready, settled)
    if certificate is not None:
        process.on_hangup(certificate.reload)
        certificate.watch()

    if cluster is not None:
        sharing = asyncio.create_task(cluster.run())
    await stop.wait()

    if workers is not None:
        workers.stopping = True
    logger.info("stopping, %d connections to close", len(connections))
    scavenger.stop()
    if certificate is not None:
        certificate.stop()
    listener.stop()
    http_server.stop()
    if cluster is not None:
        await cluster.leave_cluster()
        sharing.cancel()
    try:
        async with asyncio.timeout(config.shutdown_timeout):
            await connections.close_all(1001, "server is stopping")
            await http_server.close_all_connections()
    except TimeoutError:
        logger.info("%d clients did not answer in time", len(connections))
        connections.abort_all()
        await asyncio.sleep(0)  # The event loop closes what was aborted in its next iteration.
    logger.info("stopped")


def _announce(config: Config, sockets: Sequence[socket.socket]) -> None:
    """Log what there is to know of a server that has begun to listen."""
    logger.info("version %s, transport: %s", VERSION, config.transport)
    for listening in sockets:
        host, port = listening.getsockname()[:2]
        if host == "::" and config.addr == "0.0.0.0":
            host = config.addr
        logger.info("listening on %s", host_port(host, port))
    if config.demo:
        url = capabilities.demo_url(config, *sockets[0].getsockname()[:2])
        logger.info("demo: %s", url)


def _ready(is_ready: Callable[[], bool]) -> Callable[[HTTPServerRequest], None]:
    ready, unready = respond(200, "OK"), respond(503, "not all rooms can be joined\n")
    return lambda request: (ready if is_ready() else unready)(request)
