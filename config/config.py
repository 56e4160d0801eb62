"""What the server can be told from outside (config/config.go).

One value, made once at start and handed to whoever needs it.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from config.env_file import EnvFileError, parse_env_file
from config.ice_servers import read_ice_servers
from config.numbers import parse_float, parse_int

PREFIX = "SIGNALING_"
# The name of the original, which has no prefix.
UNPREFIXED = {"port": "PORT"}
MAX_PORT = 65535

Number = TypeVar("Number", int, float)

# What Kubernetes sets in every container for a Service whose name begins with `signaling`.
OF_A_SERVICE = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST=|SERVICE_PORT(_\w+)?=|PORT=\w+://|PORT_[0-9]+_[A-Z]+(_\w+)?=)"
)

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
    """A setting has a value that it cannot have; the text is one line and names the setting."""


# What reads the text of a variable: each returns a function that raises ValueError, whose text has
# what was given and what it must be.


def number(
    parse: Callable[[str], Number], what: str, least: Number, most: Number
) -> Callable[[str], Number]:
    def read(text: str) -> Number:
        with suppress(ValueError):
            if least <= (value := parse(text)) <= most:
                return value
        raise ValueError(f"{text!r} is not {what} from {least} to {most}")

    return read


def one_of(choices: Mapping[str, str]) -> Callable[[str], str]:
    """The values by the names that they can be given, in any case."""

    def read(text: str) -> str:
        try:
            return choices[text.lower()]
        except KeyError:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}") from None

    return read


# The types of settings that have a variable, each with what reads it.
Port = Annotated[int, number(parse_int, "a whole number", 0, MAX_PORT)]
Bytes = Annotated[int, number(parse_int, "a whole number of bytes", 1, 1 << 30)]
Characters = Annotated[int, number(parse_int, "a whole number of characters", 1, 1 << 20)]
Seconds = Annotated[float, number(parse_float, "a number of seconds", 0.001, 86400)]
# After five seconds a client that does not answer a close is dropped anyway.
ShutdownSeconds = Annotated[float, number(parse_float, "a number of seconds", 0.001, 5)]
Transport = Annotated[str, one_of({"auto": "auto", "tornado": "tornado"})]
LogLevel = Annotated[str, one_of(LOG_LEVELS)]
IceServers = Annotated[str, read_ice_servers]


@dataclass(frozen=True)
class Config:
    """The settings.

    Those of the types above have variables too: PORT, and for the others their names in capitals
    with SIGNALING_ before them. Raises ConfigError when two do not go together.
    """

    addr: str = "0.0.0.0"
    """Where to listen: an address or a name; empty for every interface."""
    port: Port = 5000
    """TCP port; 0 for any that is free."""
    max_message_size: Bytes = 1 << 20
    """Bytes of a client's message; a longer one closes its connection with 1009."""
    max_room_name: Characters = 255
    """Characters (code points) of a room's name; a longer one is an invalid payload."""
    max_send_buffer: Bytes = 4 << 20
    """Bytes that may wait to be sent to one client; when it falls further behind, it is closed with
    1013. A client for which nothing waits may be sent a message of any length."""
    handshake_timeout: Seconds = 10.0
    """Seconds for a request to arrive whole, from the connection or its first byte on."""
    idle_timeout: Seconds = 75.0
    """Seconds for an HTTP connection to wait for its next request; longer than a load balancer
    keeps it, or that sends requests into a closing connection."""
    keepalive_interval: Seconds = 30.0
    """Seconds between two messages of type `ping`, counted from the connection's start."""
    ping_interval: Seconds = 30.0
    """Seconds between two WebSocket pings."""
    ping_timeout: Seconds = 20.0
    """Seconds for the pong to come, at most `ping_interval`; a client that sent nothing for both
    together is closed with 1011."""
    shutdown_timeout: ShutdownSeconds = 3.0
    """Seconds for clients to answer the close with which the server stops."""
    transport: Transport = "auto"
    """What reads and writes frames: the project's own protocol where it can, or Tornado's."""
    log_level: LogLevel = "INFO"
    """The least important records that are logged, as Python's `logging` calls them."""
    ice_servers: IceServers = field(
        default='[{"urls":"stun:stun.l.google.com:19302"}]',
        repr=False,  # It may have credentials.
    )
    """What the demo page connects its visitors with, in JSON; every visitor is given it."""
    demo: bool = False
    """Whether to serve the demo page too."""

    def __post_init__(self) -> None:
        if self.ping_timeout > self.ping_interval:
            raise ConfigError(
                f"{PREFIX}PING_TIMEOUT ({self.ping_timeout:g} s) must not be longer"
                f" than {PREFIX}PING_INTERVAL ({self.ping_interval:g} s)"
            )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **flags: Any) -> "Config":
        """The settings that `flags` gives, then those of the environment, then the defaults.

        A variable that is set to nothing counts as not set. A ping interval shorter than the
        default ping timeout shortens that too. Raises ConfigError, also for a variable that a flag
        overrules, and for a variable with the prefix that is no setting.
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
    """The variables of the environment, with the setting that each is for and what reads it."""
    types = get_type_hints(Config, include_extras=True)
    return {
        UNPREFIXED.get(name, PREFIX + name.upper()): (name, get_args(types[name])[1])
        for name in (field.name for field in fields(Config))
        if get_origin(types[name]) is Annotated
    }


def _nearest(variable: str, known: Iterable[str]) -> str:
    # Without the prefix, so that SIGNALING_PORT leads to PORT; and what has none is a flag.
    names = {"ADDR": "the flag -addr", "HOST": "the flag -addr", "DEMO": "the flag -demo"}
    names |= {name.removeprefix(PREFIX): name for name in known}
    return names[get_close_matches(variable.removeprefix(PREFIX), names, n=1, cutoff=0)[0]]


def init_env() -> dict[str, str]:
    """The environment, and under it what `.env` in the working directory adds. Raises ConfigError.

    Unlike the original, leaves the environment of the process as it is.
    """
    try:
        return {**parse_env_file(Path(".env").read_bytes()), **os.environ}
    except FileNotFoundError:
        return dict(os.environ)
    except EnvFileError as error:
        raise ConfigError(f".env, {error}") from None
    except OSError as error:
        raise ConfigError(f"cannot read .env: {error.strerror}") from None
