"""The settings, from the flags, the environment and `.env` (config/config.go).

They are one value, which is made once at the start and handed to whoever needs it.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import quote, urlsplit

from config.env_file import EnvFileError, parse_env_file
from config.ice_servers import read_ice_servers
from config.numbers import parse_float, parse_int

PREFIX = "SIGNALING_"
MAX_PORT = 65535

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


def one_of(choices: Mapping[str, str]) -> Callable[[str], str]:
    """Return a reader of names, in any case, for the values that `choices` has under them."""

    def read(text: str) -> str:
        try:
            return choices[text.lower()]
        except KeyError:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}") from None

    return read


def read_origins(text: str) -> tuple[str, ...]:
    """Return origins as browsers send them, perhaps with `*.` before the host; none for `*`."""
    origins = tuple(origin.strip() for origin in text.split(",") if origin.strip())
    if origins == ("*",):
        return ()
    for origin in origins:
        # No default port, since browsers leave it out; `null` is what a sandboxed page sends.
        if not re.fullmatch(
            r"null|[a-z][a-z0-9+.-]*://(\*\.)?([\w.-]+|\[[0-9a-f:.]+\])(:\d+)?", origin
        ):
            raise ValueError(
                f"{origin!r} is not * or an origin such as https://example.com"
                " or https://*.example.com"
            )
        if re.fullmatch(r"(http|ws)://.*:80|(https|wss)://.*:443", origin):
            raise ValueError(f"{origin!r} has the default port, which browsers leave out")
    return origins


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
Text = Annotated[str, str]
Origins = Annotated[tuple[str, ...], read_origins]
RedisHost = Annotated[str, read_redis_host]
RedisUrl = Annotated[str, read_redis_url]
RedisPort = Annotated[int, read_redis_port]
RedisDb = Annotated[int, number(parse_int, "a number of a database", 0, 1 << 20)]
# 0 stands for any number.
Clients = Annotated[int, number(parse_int, "a number of clients", 0, 1 << 30)]
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
    """The ICE servers of the demo page, in JSON. Every visitor is given them."""
    allowed_origins: Origins = ()
    """The origins from which pages may connect, separated by commas, as browsers send them:
    `https://example.com`, or `https://*.example.com` for every name below that one. Empty, or `*`
    in the variable, for all. What is not a page sends no origin, and may connect."""
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
    demo: bool = False
    """Whether to serve the demo page too."""

    def __post_init__(self) -> None:
        if self.ping_timeout > self.ping_interval:
            raise ConfigError(
                f"{PREFIX}PING_TIMEOUT ({self.ping_timeout:g} s) must not be longer"
                f" than {PREFIX}PING_INTERVAL ({self.ping_interval:g} s)"
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            missing = "KEY" if self.tls_cert else "CERT"
            raise ConfigError(f"for TLS, {PREFIX}TLS_{missing} (-tls-{missing.lower()}) is missing")

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
