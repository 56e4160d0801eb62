"""The settings, from the flags, the environment and `.env` (config/config.go).

They are one value, which is made once at the start and handed to whoever needs it.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import quote, urlsplit

from config.env_file import EnvFileError, parse_env_file
from config.ice_servers import read_ice_servers, read_turn_urls
from config.numbers import parse_float, parse_int

PREFIX = "SIGNALING_"
MAX_PORT = 65535
MAX_WORKERS = 1024

MIN_SECRET = 32
"""Bytes of a secret for tokens (RFC 7518, section 3.2)."""

UNPREFIXED = {
    "port": "PORT",
    "redis_url": "REDIS_URL",
    "redis_host": "REDIS_HOST",
    "redis_port": "REDIS_PORT",
    "redis_username": "REDIS_USERNAME",
    "redis_password": "REDIS_PASSWORD",
    "redis_db": "REDIS_DB",
}
"""Settings whose variable has the original's name, without a prefix."""

Number = TypeVar("Number", int, float)

OF_A_SERVICE = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST=|SERVICE_PORT(_\w+)?=|PORT=\w+://|PORT_[0-9]+_[A-Z]+(_\w+)?=)"
)
"""Variables that Kubernetes sets in every container for a Service named `signaling…`."""

LOG_LEVELS = {
    "trace": "DEBUG",
    "debug": "DEBUG",
    "info": "INFO",
    "warn": "WARNING",
    "warning": "WARNING",
    "error": "ERROR",
    "fatal": "CRITICAL",
    "critical": "CRITICAL",
}


class ConfigError(Exception):
    """A setting has an invalid value. The text is one line that names the setting."""


# Readers of variables. Each function returns one that converts the text of a variable, or raises
# ValueError with a text that says what was given and what is allowed.


def number(
    parse: Callable[[str], Number], what: str, least: Number, most: Number
) -> Callable[[str], Number]:
    """Return a reader of numbers within bounds; `what` describes them in the error."""

    def read(text: str) -> Number:
        with suppress(ValueError):
            if least <= (value := parse(text)) <= most:
                return value
        raise ValueError(f"{text!r} is not {what} from {least} to {most}")

    return read


def zero_or(read: Callable[[str], int]) -> Callable[[str], int]:
    """Return a reader that also takes 0, which stands for no limit."""

    def read_or_zero(text: str) -> int:
        try:
            return 0 if text == "0" else read(text)
        except ValueError as error:
            raise ValueError(f"{error}, or 0") from None

    return read_or_zero


def one_of(choices: Mapping[str, str]) -> Callable[[str], str]:
    """Return a reader of names, in any case, for the values that `choices` has under them."""

    def read(text: str) -> str:
        try:
            return choices[text.lower()]
        except KeyError:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}") from None

    return read


def read_origins(text: str) -> str:
    """Return origins as browsers send them, perhaps with `*.` before the host; or `*` for all."""
    origins = tuple(origin.strip().lower() for origin in text.split(",") if origin.strip())
    if origins == ("*",):
        return "*"
    if not origins:
        raise ValueError(f"{text!r} is not * or an origin such as https://example.com")
    for origin in origins:
        # No default port, since browsers leave it out; `null` is what a sandboxed page sends.
        if not re.fullmatch(
            r"null|[a-z][a-z0-9+.-]*://(\*\.)?([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:\d+)?", origin
        ):
            raise ValueError(
                f"{origin!r} is not * or an origin such as https://example.com"
                " or https://*.example.com"
            )
        if re.fullmatch(r"(http|ws)://.*:80|(https|wss)://.*:443", origin):
            raise ValueError(f"{origin!r} has the default port, which browsers leave out")
    return ",".join(origins)


def read_secrets(text: str) -> tuple[str, ...]:
    """Return secrets, which are separated by commas or white space.

    What it raises does not have any of them.
    """
    secrets = tuple(re.findall(r"[^\s,]+", text))
    if not secrets:
        raise ValueError("... has no secret")
    for number, secret in enumerate(secrets, 1):
        try:
            length = len(secret.encode())
        except UnicodeEncodeError:
            raise ValueError(f"... has a secret that is not UTF-8 (number {number})") from None
        if length < MIN_SECRET:
            raise ValueError(
                f"... has a secret of {length} bytes (number {number}); {MIN_SECRET} are the least"
            )
    return secrets


def _as_ipv4(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return a network of IPv4 that is written as one of IPv6, such as ::ffff:10.0.0.1, as such."""
    first = network.network_address
    mapped = first.ipv4_mapped if isinstance(first, IPv6Address) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))


def read_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return networks in CIDR notation; an address is a network of one."""
    networks = []
    for network in (part.strip() for part in text.split(",") if part.strip()):
        try:
            networks.append(_as_ipv4(ip_network(network)))
        except ValueError as error:
            raise ValueError(
                f"{network!r} is not an address or a network such as 10.0.0.0/8: {error}"
            ) from None
    return tuple(networks)


def read_turn_secret(text: str) -> str:
    """Return the secret. What it raises does not have it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("... is not UTF-8") from None
    return text


# What the readers for Redis raise does not have the text, which may have a password.


def read_redis_url(text: str) -> str:
    """Return the URL of a Redis."""
    with suppress(ValueError):
        url = urlsplit(text)
        if url.scheme == "unix" and url.path:
            return text
        is_tcp = url.scheme in ("redis", "rediss") and url.hostname and url.port != 0
        if is_tcp and re.fullmatch(r"(/\d*)?", url.path):
            return text
    raise ValueError("... is not redis://, rediss:// or unix:// and where Redis is")


def read_redis_host(text: str) -> str:
    """Return the name or address of a host, without a port."""
    with suppress(ValueError):
        if re.fullmatch(r"[\w.-]+", text) or ip_address(text):
            return text
    raise ValueError("... is not the name or address of a host")


def read_redis_port(text: str) -> int:
    """Return a port. Kubernetes sets the variable for a Service named `redis`: tcp://host:port."""
    return number(parse_int, "a port", 1, MAX_PORT)(re.sub(r"^tcp://.*:", "", text))


# The types of settings that have a variable, each with its reader.
Port = Annotated[int, number(parse_int, "a whole number", 0, MAX_PORT)]
Bytes = Annotated[int, number(parse_int, "a whole number of bytes", 1, 1 << 30)]
# 0 stands for what the machine suggests.
Memory = Annotated[int, number(parse_int, "a whole number of bytes", 0, 1 << 50)]
Characters = Annotated[int, number(parse_int, "a whole number of characters", 1, 1 << 20)]
Seconds = Annotated[float, number(parse_float, "a number of seconds", 0.001, 86400)]
# A client that does not answer a close within five seconds is dropped in any case.
ShutdownSeconds = Annotated[float, number(parse_float, "a number of seconds", 0.001, 5)]
Transport = Annotated[str, one_of({"auto": "auto", "tornado": "tornado"})]
LogLevel = Annotated[str, one_of(LOG_LEVELS)]
IceServers = Annotated[str, read_ice_servers]
TurnUrls = Annotated[tuple[str, ...], read_turn_urls]
TurnSecret = Annotated[str, read_turn_secret]
WholeSeconds = Annotated[int, number(parse_int, "a whole number of seconds", 1, 86400)]
Text = Annotated[str, str]
Origins = Annotated[str, read_origins]
Secrets = Annotated[tuple[str, ...], read_secrets]
RedisHost = Annotated[str, read_redis_host]
RedisUrl = Annotated[str, read_redis_url]
RedisPort = Annotated[int, read_redis_port]
RedisDb = Annotated[int, number(parse_int, "a number of a database", 0, 1 << 20)]
# 0 stands for any number.
Clients = Annotated[int, number(parse_int, "a number of clients", 0, 1 << 30)]
Processes = Annotated[int, number(parse_int, "a number of processes", 0, MAX_WORKERS)]
Connections = Annotated[int, number(parse_int, "a number of connections", 0, 1 << 30)]
# At a lower rate, what is read at once would make a client wait for so long that nobody could tell
# whether it is still there.
ByteRate = Annotated[int, zero_or(number(parse_int, "a number of bytes a second", 10_000, 1 << 30))]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], read_networks]
Lease = Annotated[float, number(parse_float, "a number of seconds", 0.3, 60)]


@dataclass(frozen=True)
class Config:
    """The settings.

    Those of the types above can also be given as variables. A variable has the name of its setting
    in capitals, with SIGNALING_ before it except for PORT. Raises ConfigError when two settings
    contradict each other.
    """

    addr: str = "0.0.0.0"
    """The address or host name to listen on; empty for every address."""
    port: Port = 5000
    """The TCP port; 0 for any that is free."""
    max_message_size: Bytes = 1 << 20
    """Bytes of a client's message. A longer one closes the connection with 1009."""
    max_room_name: Characters = 255
    """Characters (code points) of a room's name. A longer one is an invalid payload."""
    max_send_buffer: Bytes = 4 << 20
    """Bytes that may wait to be sent to one client. A client that falls further behind is closed
    with 1013. While nothing waits, a message of any length may be sent."""
    max_buffered: Memory = 0
    """Bytes in memory for all clients together, of what is unsent or half received; 0 for a quarter
    of the memory that the system or the container has. When it is used up, those that have most
    are closed with 1013."""
    handshake_timeout: Seconds = 10.0
    """Seconds for a request to arrive, counted from the connection or from its first byte."""
    idle_timeout: Seconds = 75.0
    """Seconds that an HTTP connection is kept for its next request. This must be longer than a load
    balancer keeps it, or the balancer sends requests into a connection that is closing."""
    keepalive_interval: Seconds = 30.0
    """Seconds between two `ping` messages, counted from the start of the connection."""
    ping_interval: Seconds = 30.0
    """Seconds between two WebSocket pings."""
    ping_timeout: Seconds = 20.0
    """Seconds for the pong, at most `ping_interval`. A client that sends nothing for both together
    is closed with 1011."""
    shutdown_timeout: ShutdownSeconds = 3.0
    """Seconds for clients to answer the close when the server stops."""
    tls_cert: Text = ""
    """The file of the certificate, in PEM, with those that lead to its root; empty for no TLS."""
    tls_key: Text = ""
    """The file of the certificate's key, in PEM and without a passphrase."""
    transport: Transport = "auto"
    """What reads and writes frames: `auto` is this project's transport, `tornado` Tornado's."""
    log_level: LogLevel = "INFO"
    """The lowest level of log records that are written, by its name in Python's `logging`."""
    ice_servers: IceServers = field(
        default='[{"urls":"stun:stun.l.google.com:19302"}]',
        repr=False,  # It may have credentials.
    )
    """The ICE servers, in JSON. Every client that asks for them is given them."""
    turn_urls: TurnUrls = ()
    """The URLs of a TURN server that shares `turn_secret`. Clients are given it with the ICE
    servers, each with a user name and a password of its own that expire."""
    turn_secret: TurnSecret = field(default="", repr=False)
    """The TURN server's secret (coturn's `static-auth-secret`)."""
    turn_ttl: WholeSeconds = 3600
    """Seconds for which a client may use its password to begin relaying."""
    allowed_origins: Origins = "*"
    """The origins from which pages may connect, separated by commas, as browsers send them:
    `https://example.com`, or `https://*.example.com` for every name below that one; `*` for all.
    What is not a page sends no origin, and may connect."""
    auth_secrets: Secrets = field(default=(), repr=False)
    """Secrets of at least 32 bytes with which tokens may be signed, separated by commas or white
    space. With secrets or public keys, every client needs a token."""
    auth_public_keys: Text = ""
    """The path of a file of public keys in PEM with which signatures are checked as well."""
    auth_issuer: Text = ""
    """The issuer (`iss`) that tokens must have; empty for any."""
    auth_audience: Text = ""
    """The audience (`aud`) that tokens must have; empty for those that have none."""
    max_connections: Connections = 0
    """How many WebSockets may be open; 0 for any number, here and in the next three."""
    max_connections_per_address: Connections = 0
    """How many of them may come from one address, or from one /64 network of IPv6."""
    connection_rate: Connections = 0
    """How often such an address may try to open one, in a minute; at once it may do so as often."""
    byte_rate: ByteRate = 0
    """Bytes a second that a client may send. One that sends more is read slower. This takes `auto`
    as the transport."""
    trusted_proxies: Networks = ()
    """The addresses or networks, separated by commas, of the proxies that are believed where their
    connections come from, in X-Forwarded-For or in a header of the PROXY protocol, version 2."""
    max_room_size: Clients = 0
    """How many clients a room may have, on all servers that share it; 0 for any number."""
    redis_url: RedisUrl = field(default="", repr=False)
    """Where Redis or Valkey is, over which rooms are shared with other servers. It takes the place
    of the next five."""
    redis_host: RedisHost = ""
    """The host of Redis; empty for none."""
    redis_port: RedisPort = 6379
    redis_username: Text = ""
    redis_password: Text = field(default="", repr=False)
    redis_db: RedisDb = 0
    cluster_prefix: Text = "pysignaling"
    """What all keys in Redis begin with. Servers that share their rooms have the same."""
    cluster_lease: Lease = 3.0
    """Seconds after which a server that shows no sign of life is dead to the others."""
    workers: Processes = 1
    """Processes that serve the port together, each with some of the rooms; 0 for one for each
    processor."""
    demo: bool = False
    """Whether to serve the demo page too."""

    def __post_init__(self) -> None:
        if self.ping_timeout > self.ping_interval:
            raise ConfigError(
                f"{PREFIX}PING_TIMEOUT ({self.ping_timeout:g} s) must not be longer"
                f" than {PREFIX}PING_INTERVAL ({self.ping_interval:g} s)"
            )
        if self.turn_urls and not self.turn_secret:
            raise ConfigError(f"{PREFIX}TURN_URLS needs {PREFIX}TURN_SECRET")
        if self.turn_secret and not self.turn_urls:
            raise ConfigError(f"{PREFIX}TURN_SECRET needs {PREFIX}TURN_URLS")
        if bool(self.tls_cert) != bool(self.tls_key):
            missing = "KEY" if self.tls_cert else "CERT"
            raise ConfigError(f"for TLS, {PREFIX}TLS_{missing} (-tls-{missing.lower()}) is missing")
        if self.byte_rate and self.transport == "tornado":
            raise ConfigError(f"{PREFIX}BYTE_RATE cannot be kept with {PREFIX}TRANSPORT='tornado'")
        if self.workers != 1 and self.transport == "tornado":
            raise ConfigError(f"-workers cannot be used with {PREFIX}TRANSPORT='tornado'")
        if self.workers != 1 and self.tls_cert:
            # What TLS knows of a connection cannot go from one process to another.
            raise ConfigError("-workers cannot be used with -tls-cert; have a proxy speak TLS")
        if (self.auth_issuer or self.auth_audience) and not self.has_tokens:
            raise ConfigError(
                f"{PREFIX}AUTH_ISSUER and {PREFIX}AUTH_AUDIENCE are for tokens, which need"
                f" {PREFIX}AUTH_SECRETS or {PREFIX}AUTH_PUBLIC_KEYS"
            )

    @property
    def has_tokens(self) -> bool:
        """Whether every client needs a token."""
        return bool(self.auth_secrets or self.auth_public_keys)

    @property
    def redis(self) -> str:
        """The URL of Redis; empty for none."""
        if self.redis_url or not self.redis_host:
            return self.redis_url
        login = ""
        if self.redis_username or self.redis_password:
            login = f"{quote(self.redis_username, '')}:{quote(self.redis_password, '')}@"
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        return f"redis://{login}{host}:{self.redis_port}/{self.redis_db}"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **flags: Any) -> "Config":
        """Return the settings: `flags` beat the environment, and that beats the defaults.

        An empty variable counts as not set. A ping interval shorter than the default ping timeout
        shortens that too. Raises ConfigError, also for a variable that a flag overrules, and for
        one that has the prefix but is not a setting.
        """
        known = variables()
        given = {variable: text for variable, text in environ.items() if text}
        for variable, text in given.items():
            if variable.startswith(PREFIX) and not (
                variable in known or OF_A_SERVICE.match(f"{variable}={text}")
            ):
                raise ConfigError(
                    f"{variable!r} is not a setting; did you mean {_nearest(variable, known)}?"
                )
        settings: dict[str, Any] = {}
        for variable, (name, read) in known.items():
            if variable in given:
                try:
                    settings[name] = read(given[variable])
                except ValueError as error:
                    raise ConfigError(f"{variable}={error}") from None
        if "ping_interval" in settings:
            settings.setdefault("ping_timeout", min(cls.ping_timeout, settings["ping_interval"]))
        return cls(**{**settings, **flags})


def variables() -> dict[str, tuple[str, Callable[[str], Any]]]:
    """Return the variables by their names, each with the name of its setting and its reader."""
    types = get_type_hints(Config, include_extras=True)
    return {
        UNPREFIXED.get(name, PREFIX + name.upper()): (name, get_args(types[name])[1])
        for name in (field.name for field in fields(Config))
        if get_origin(types[name]) is Annotated
    }


def _nearest(variable: str, known: Iterable[str]) -> str:
    # Compared without the prefix, so that SIGNALING_PORT leads to PORT. Two are only flags.
    names = {"ADDR": "the flag -addr", "HOST": "the flag -addr", "DEMO": "the flag -demo"}
    names |= {name.removeprefix(PREFIX): name for name in known}
    return names[get_close_matches(variable.removeprefix(PREFIX).upper(), names, n=1, cutoff=0)[0]]


def init_env() -> dict[str, str]:
    """Return the environment, with what `.env` in the working directory adds to it.

    Unlike the original, leave the environment of the process as it is. Raises ConfigError.
    """
    try:
        return {**parse_env_file(Path(".env").read_bytes()), **os.environ}
    except FileNotFoundError:
        return dict(os.environ)
    except EnvFileError as error:
        raise ConfigError(f".env, {error}") from None
    except OSError as error:
        raise ConfigError(f"cannot read .env: {error.strerror}") from None
