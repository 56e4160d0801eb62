"""The composition root: puts the server together, starts it and stops it (server.go)."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.web import Application

import process
from config.config import PREFIX, Config, ConfigError
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
    from edge.tokens import Tokens
    from services.clustering import ClusteringService
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
    ice_servers: Callable[[Grant | None], str] | None = None,
    client_address: Callable[[HTTPServerRequest], str] | None = None,
    **optional: Any,
) -> Application:
    """Return the application. Open connections are in `connections` until they are gone.

    `ice_servers` returns the answer to a client that asks for ICE servers, in JSON; without it
    that has those of the settings. `client_address` returns from which address a request comes;
    without it, that is its connection's. `optional` are the collaborators of a handler that it can
    do without.
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
        "ice_servers": ice_servers or (lambda grant: config.ice_servers),
    }
    answer = f'{{"iceServers":{config.ice_servers}}}'
    ice = {
        "door": optional.get("door"),
        "ice_servers": ice_servers or (lambda grant: answer),
    }
    return ServeMux(
        [
            (r"/health", respond(200, "OK")),
            (r"/ready", _ready(is_ready)),
            (r"/ice-servers", IceServersHandler, ice),
            (r"/connect", Handler, collaborators),
            (r"/ws", Handler, collaborators),
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
    manager: RoomManager
    cluster = None
    if config.redis:
        manager = cluster = _cluster(config, large_rooms)
    else:
        manager = RoomManager(RoomRepository(), config.max_room_size)
    client_address = read_first = None
    if config.trusted_proxies:
        from edge.proxies import Proxies
        from transport.proxy_protocol import HeaderProtocol

        proxies = Proxies(config.trusted_proxies)
        client_address = proxies.client_address
        read_first = partial(HeaderProtocol, proxies.trusts)
    collaborators: dict[str, Any] = {
        "manager": manager,
        "config": config,
        "connections": connections,
        "large_rooms": large_rooms,
        "door": _door(config, workers),
        "workers": workers,
    }
    app = make_app(
        **collaborators,
        is_ready=lambda: cluster is None or cluster.ready,
        ice_servers=_turn(config),
        client_address=client_address,
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
        workers.start(moving.take, stop, None if cluster is None else cluster.settled)
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


def _announce(config: Config, sockets: Sequence[socket.socket]) -> None:
    """Log what there is to know of a server that has begun to listen."""
    logger.info("version %s, transport: %s", VERSION, config.transport)
    for listening in sockets:
        host, port = listening.getsockname()[:2]
        if host == "::" and config.addr == "0.0.0.0":
            host = config.addr
        logger.info("listening on %s", host_port(host, port))
    if config.demo:
        scheme = "https" if config.tls_cert else "http"
        logger.info("demo: %s", _demo_url(scheme, *sockets[0].getsockname()[:2]))


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


def _door(config: Config, workers: "Workers | None") -> Door | None:
    """Return the door with what is configured; None if anybody may come in."""
    origins = limits = tokens = None
    if config.allowed_origins != "*":
        from edge.origins import Origins

        origins = Origins(config.allowed_origins.split(","))
    if config.max_connections or config.max_connections_per_address or config.connection_rate:
        from edge.limits import ConnectionLimits

        limits = ConnectionLimits(
            config.max_connections,
            config.max_connections_per_address,
            config.connection_rate,
            shared=None if workers is None else workers.tallies,
        )
    if config.has_tokens:
        tokens = _tokens(config)
    if origins is None and limits is None and tokens is None:
        return None
    return Door(origins, limits, tokens)


def _tokens(config: Config) -> "Tokens":
    try:
        from edge.tokens import Tokens, read_public_keys
    except ImportError as error:
        raise ConfigError(f"to check tokens, install requirements.txt: {error}") from None
    try:
        keys = read_public_keys(config.auth_public_keys) if config.auth_public_keys else []
    except ValueError as error:
        raise ConfigError(f"{PREFIX}AUTH_PUBLIC_KEYS={error}") from None
    return Tokens(config.auth_secrets, keys, config.auth_issuer, config.auth_audience)


def mint(config: Config, room_id: str, ttl: float) -> tuple[str, str]:
    """Return a token for a room, valid for so many seconds, and the demo's link with it.

    Raises ConfigError without a secret to sign it with.
    """
    if not config.auth_secrets:
        raise ConfigError(f"-mint signs with the first of {PREFIX}AUTH_SECRETS, and there is none")
    token = _tokens(config).mint(room_id, ttl)
    # As the demo writes it (`encodeURIComponent`).
    room = quote(room_id, safe="!'()*")
    scheme = "https" if config.tls_cert else "http"
    return token, f"{_demo_url(scheme, config.addr, config.port)}#{room}&token={token}"


def _turn(config: Config) -> Callable[[Grant | None], str] | None:
    """Return what gives clients the ICE servers and the TURN server; None without the latter."""
    if not config.turn_urls:
        return None
    from edge.turn import Turn

    turn = Turn(config.turn_urls, config.turn_secret, config.turn_ttl, config.ice_servers)
    return turn.ice_servers


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
