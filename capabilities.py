"""What a server can do beyond the rooms, each made here if it is configured.

A module that is not needed is not imported, nor is its library. So what is off costs nothing, and
what a library knows of the settings is told in one line, as ConfigError.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from tornado.httputil import HTTPServerRequest

from config.config import PREFIX, Config, ConfigError
from edge.door import Door, Grant
from handler.handler import undelivered
from handler.large_rooms import LARGE, LargeRooms
from log import Seldom
from repository.mem.room import RoomRepository
from transport.listen import host_port, is_every_address
from transport.listener import ReadFirst

if TYPE_CHECKING:
    from edge.tls import Certificate
    from edge.tokens import Tokens
    from services.clustering import ClusteringService
    from workers.workers import Workers


def cluster(
    config: Config, large_rooms: LargeRooms, workers: "Workers | None" = None
) -> "ClusteringService | None":
    """Return the manager of rooms that are shared over Redis; None if they are not."""
    if not config.redis:
        return None
    try:
        from services.clustering import ClusteringService
        from services.redis_bus import Link, RedisBus
    except ImportError as error:
        raise ConfigError(f"to share rooms over Redis, install requirements.txt: {error}") from None
    try:
        Link(config.redis)
    except (TypeError, ValueError):  # Their texts may have what was given.
        raise ConfigError("REDIS_URL=... has an option that redis-py does not know") from None
    return ClusteringService(
        RoomRepository(),
        RedisBus(
            partial(Link, config.redis),
            config.cluster_prefix,
            config.cluster_lease / 2,
            Seldom({} if workers is None else workers.warned),
        ),
        lease=config.cluster_lease,
        max_room_size=config.max_room_size,
        undelivered=undelivered,
        telling=lambda members: large_rooms.telling() if members > LARGE else nullcontext(),
    )


def door(config: Config, workers: "Workers | None") -> Door | None:
    """Return the door with what is configured; None if anybody may come in."""
    origins = limits = None
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
    tokens = _tokens(config) if config.has_tokens else None
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
    return token, f"{demo_url(config, config.addr, config.port)}#{room}&token={token}"


def demo_url(config: Config, host: str, port: int) -> str:
    """Return the demo's URL, with `localhost` for this machine.

    Browsers allow cameras there without TLS.
    """
    scheme = "https" if config.tls_cert else "http"
    local = is_every_address(host) or host in ("127.0.0.1", "::1")
    return f"{scheme}://{host_port('localhost' if local else host, port)}/"


def ice_servers(config: Config) -> Callable[[Grant | None, str | None], str]:
    """Return what answers clients that ask for ICE servers, by their grant and id, in JSON."""
    if config.turn_urls:
        from edge.turn import Turn

        turn = Turn(config.turn_urls, config.turn_secret, config.turn_ttl, config.ice_servers)
        return turn.ice_servers
    answer = f'{{"iceServers":{config.ice_servers}}}'
    return lambda grant, client_id: answer


def certificate(config: Config) -> "Certificate | None":
    """Return the certificate for TLS; None without TLS."""
    if not config.tls_cert:
        return None
    from edge.tls import Certificate, CertificateError

    try:
        return Certificate(config.tls_cert, config.tls_key)
    except CertificateError as error:
        raise ConfigError(str(error)) from None


def proxies(
    config: Config,
) -> tuple[Callable[[HTTPServerRequest], str] | None, ReadFirst | None]:
    """Return what looks up a client's address, and what reads it before the first request."""
    if not config.trusted_proxies:
        return None, None
    from edge.proxies import Proxies
    from transport.proxy_protocol import HeaderProtocol

    trusted = Proxies(config.trusted_proxies)
    return trusted.client_address, partial(HeaderProtocol, trusted.trusts)
