"""The composition root: puts the server together, starts it and stops it (server.go)."""

import asyncio
import logging

from tornado.httpserver import HTTPServer
from tornado.web import Application

import process
from config.config import Config
from demo.routes import demo_routes
from handler.connections import Connections
from handler.handler import Handler
from handler.large_rooms import LargeRooms
from manager.room import RoomManager
from repository.mem.room import RoomRepository
from transport.listen import BACKLOG, host_port, is_every_address, listen
from transport.listener import Listener
from transport.newcomers import Newcomers
from transport.serve_mux import ServeMux, respond
from version import VERSION

logger = logging.getLogger(__name__)

MAX_BODY_SIZE = 1024
"""Bytes of a request's body, which no request has a use for."""

PATHS = ("/health", "/connect", "/ws")
"""The paths of the original."""


def make_app(manager: RoomManager, config: Config, connections: Connections) -> Application:
    """Return the application. Open connections are in `connections` until they are gone."""
    collaborators = {
        "manager": manager,
        "config": config,
        "connections": connections,
        "large_rooms": LargeRooms(),
    }
    return ServeMux(
        [
            (r"/health", respond(200, "OK")),
            (r"/connect", Handler, collaborators),
            (r"/ws", Handler, collaborators),
            *(demo_routes(config.ice_servers) if config.demo else []),
            (r".*", respond(404, "404 page not found\n")),
        ],
        PATHS,
        websocket_max_message_size=config.max_message_size,
        websocket_ping_interval=config.ping_interval,
        websocket_ping_timeout=config.ping_timeout,
        log_function=lambda handler: None,  # Joins and leaves are logged, requests are not.
    )


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT, then close every client with 1001. Raises ListenError."""
    stop = process.stop_event()
    scavenger = process.Scavenger(asyncio.get_running_loop().call_later)
    newcomers = Newcomers()
    connections = Connections(newcomers, scavenger.count)
    manager = RoomManager(RoomRepository())
    app = make_app(manager, config, connections)
    http_server = HTTPServer(
        app,
        idle_connection_timeout=config.idle_timeout,
        body_timeout=config.handshake_timeout,
        max_body_size=MAX_BODY_SIZE,
    )
    sockets = listen(config.addr, config.port)
    process.raise_file_limit()
    logger.info("version %s, transport: %s", VERSION, config.transport)
    upgrades = config.transport == "auto"
    listener = Listener(
        app,
        http_server,
        config.handshake_timeout,
        newcomers,
        upgrades=upgrades,
        max_buffered=config.max_buffered or process.memory_granted() // 4,
    )
    await listener.add_sockets(sockets, BACKLOG)
    for listening in sockets:
        host, port = listening.getsockname()[:2]
        if host == "::" and config.addr == "0.0.0.0":
            host = config.addr
        logger.info("listening on %s", host_port(host, port))
    if config.demo:
        logger.info("demo: %s", _demo_url(*sockets[0].getsockname()[:2]))

    await stop.wait()

    logger.info("stopping, %d connections to close", len(connections))
    scavenger.stop()
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


def _demo_url(host: str, port: int) -> str:
    """Return the demo's URL, with `localhost` for this machine.

    Browsers allow cameras there without TLS.
    """
    local = is_every_address(host) or host in ("127.0.0.1", "::1")
    return f"http://{host_port('localhost' if local else host, port)}/"
