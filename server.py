"""The composition root: puts the server together, starts it and stops it (server.go)."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.web import Application

import process
from config.config import Config, ConfigError
from demo.routes import demo_routes
from edge.door import Door, Grant
from edge.ice_servers import IceServersHandler
from handler.connections import Connections
from handler.handler import Handler, undelivered
from handler.large_rooms import LARGE, LargeRooms
from manager.room import RoomManager
from repository.mem.room import RoomRepository
from transport.listen import BACKLOG, host_port, is_every_address, listen
from transport.listener import Listener
from transport.newcomers import Newcomers
from transport.serve_mux import ServeMux, respond
from version import VERSION

if TYPE_CHECKING:
    from edge.tls import Certificate
    from services.clustering import ClusteringService

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
    door: Door | None = None,
    ice_servers: Callable[[Grant | None], str] | None = None,
) -> Application:
    """Return the application. Open connections are in `connections` until they are gone.

    `ice_servers` returns the ICE servers for a client, in JSON; without it they are those of the
    settings.
    """
    collaborators = {
        "manager": manager,
        "config": config,
        "connections": connections,
        "large_rooms": large_rooms,
        "door": door,
    }
    ice = {"door": door, "ice_servers": ice_servers or (lambda grant: config.ice_servers)}
    return ServeMux(
        [
            (r"/health", respond(200, "OK")),
            (r"/ready", _ready(is_ready)),
            (r"/ice-servers", IceServersHandler, ice),
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
    large_rooms = LargeRooms()
    manager: RoomManager
    cluster = None
    if config.redis:
        manager = cluster = _cluster(config, large_rooms)
    else:
        manager = RoomManager(RoomRepository(), config.max_room_size)
    app = make_app(
        manager,
        config,
        connections,
        large_rooms,
        lambda: cluster is None or cluster.ready,
        _door(config),
    )
    certificate = tls = None
    if config.tls_cert:
        from transport.tls import TLS

        certificate = _certificate(config)
        tls = TLS(certificate.context)
    http_server = HTTPServer(
        app,
        protocol=None if tls is None else "https",
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
        tls=tls,
    )
    await listener.add_sockets(sockets, BACKLOG)
    for listening in sockets:
        host, port = listening.getsockname()[:2]
        if host == "::" and config.addr == "0.0.0.0":
            host = config.addr
        logger.info("listening on %s", host_port(host, port))
    if config.demo:
        scheme = "http" if tls is None else "https"
        logger.info("demo: %s", _demo_url(scheme, *sockets[0].getsockname()[:2]))
    if certificate is not None:
        process.on_hangup(certificate.reload)
        certificate.watch()

    if cluster is not None:
        sharing = asyncio.create_task(cluster.run())
    await stop.wait()

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


def _cluster(config: Config, large_rooms: LargeRooms) -> "ClusteringService":
    try:
        from services.clustering import ClusteringService
        from services.redis_bus import Link, RedisBus
    except ImportError as error:
        raise ConfigError(f"to share rooms over Redis, install requirements.txt: {error}") from None
    try:
        Link.to(config.redis)
    except (TypeError, ValueError):  # Their texts may have what was given.
        raise ConfigError("REDIS_URL=... has an option that redis-py does not know") from None
    return ClusteringService(
        RoomRepository(),
        RedisBus(partial(Link.open, config.redis), config.cluster_prefix, config.cluster_lease / 2),
        lease=config.cluster_lease,
        max_room_size=config.max_room_size,
        undelivered=undelivered,
        telling=lambda members: large_rooms.telling() if members > LARGE else nullcontext(),
    )


def _door(config: Config) -> Door | None:
    """Return the door with what is configured; None if anybody may come in."""
    origins = None
    if config.allowed_origins:
        from edge.origins import Origins

        origins = Origins(config.allowed_origins)
    if origins is None:
        return None
    return Door(origins)


def _certificate(config: Config) -> "Certificate":
    from edge.tls import Certificate, CertificateError

    try:
        return Certificate(config.tls_cert, config.tls_key)
    except CertificateError as error:
        raise ConfigError(str(error)) from None


def _ready(is_ready: Callable[[], bool]) -> Callable[[HTTPServerRequest], None]:
    ready, unready = respond(200, "OK"), respond(503, "rooms cannot be shared\n")
    return lambda request: (ready if is_ready() else unready)(request)


def _demo_url(scheme: str, host: str, port: int) -> str:
    """Return the demo's URL, with `localhost` for this machine.

    Browsers allow cameras there without TLS.
    """
    local = is_every_address(host) or host in ("127.0.0.1", "::1")
    return f"{scheme}://{host_port('localhost' if local else host, port)}/"
