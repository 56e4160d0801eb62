"""What the server can be told from outside (config/config.go).

One value, made once at start and handed to whoever needs it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from config.env_file import EnvFileError, parse_env_file

Port = Annotated[int, Meta(ge=0, le=65535, description="a whole number from 0 to 65535")]
Bytes = Annotated[
    int, Meta(ge=1, le=1 << 30, description="a whole number of bytes from 1 to 1073741824")
]
Characters = Annotated[
    int, Meta(ge=1, le=1 << 20, description="a whole number of characters from 1 to 1048576")
]
Seconds = Annotated[
    float, Meta(ge=0.001, le=86400, description="a number of seconds from 0.001 to 86400")
]
# After five seconds a client that does not answer a close is dropped anyway.
ShutdownSeconds = Annotated[
    float, Meta(ge=0.001, le=5, description="a number of seconds from 0.001 to 5")
]
Transport = Literal["auto", "tornado"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

# RFC 7064, section 3.1, and RFC 7065, section 3.1; lenient as to what a name may consist of.
ICE_URL = re.compile(
    r"(?:stuns?|(?P<turn>turns?))"
    r":(?:[^\s:/?#@\[\]]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?(turn)(?:\?transport=(?:udp|tcp))?)"
)

# What has no variable.
FLAGS_ONLY = ("addr", "demo")


class ConfigError(Exception):
    """A setting has a value that it cannot have; the text is one line and names the setting."""


class IceServer(Struct, frozen=True, forbid_unknown_fields=True):
    """A STUN or TURN server as browsers take it (RTCIceServer of the WebRTC specification).

    Raises ValueError for a URL, or a lack of credentials, for which RTCPeerConnection would throw.
    The text quotes nothing, and `repr` does not show the credentials.
    """

    urls: str | Annotated[tuple[str, ...], Meta(min_length=1)]
    username: str | UnsetType = UNSET
    credential: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        for url in [self.urls] if isinstance(self.urls, str) else self.urls:
            match = ICE_URL.fullmatch(url)
            if not match or not 0 < int(match["port"] or 3478) < 65536:
                raise ValueError(
                    "a URL is not HOST or HOST:PORT after stun:, stuns:, turn: or turns:"
                )
            if match["turn"] and not (self.username and self.credential):
                raise ValueError("a turn: or turns: URL needs `username` and `credential`")

    def __repr__(self) -> str:
        return f"IceServer({self.urls!r})"


@dataclass(frozen=True)
class Config:
    """The settings.

    `addr` and `demo` come from the flags alone; each of the others from the environment too, under
    its name in capitals. Raises ConfigError when two do not go together.
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
    """Seconds for the pong to come, at most `ping_interval`; then the client counts as gone."""
    shutdown_timeout: ShutdownSeconds = 3.0
    """Seconds for clients to answer the close with which the server stops."""
    transport: Transport = "auto"
    """What reads and writes frames: the project's own protocol where it can, or Tornado's."""
    log_level: LogLevel = "INFO"
    """The least important records that are logged."""
    ice_servers: tuple[IceServer, ...] = (IceServer("stun:stun.l.google.com:19302"),)
    """What the demo page connects its visitors with; every visitor is given it."""
    demo: bool = False
    """Whether to serve the demo page too."""

    def __post_init__(self) -> None:
        if self.ping_timeout > self.ping_interval:
            raise ConfigError(
                f"PING_TIMEOUT ({self.ping_timeout:g} s) must not be longer"
                f" than PING_INTERVAL ({self.ping_interval:g} s)"
            )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **flags: Any) -> "Config":
        """The settings that `flags` gives, then those of the environment, then the defaults.

        A variable that is set to nothing counts as not set. A PING_INTERVAL shorter than the
        default PING_TIMEOUT shortens that too. Raises ConfigError, also for a variable that a flag
        overrules.
        """
        types = get_type_hints(cls, include_extras=True)
        settings: dict[str, Any] = {}
        for field in fields(cls):
            variable = field.name.upper()
            text = environ.get(variable, "")
            if text and field.name not in FLAGS_ONLY:
                try:
                    settings[field.name] = read_setting(text, types[field.name])
                except ValueError as error:
                    raise ConfigError(f"{variable}={error}") from None
        if "ping_interval" in settings:
            settings.setdefault("ping_timeout", min(cls.ping_timeout, settings["ping_interval"]))
        return cls(**{**settings, **flags})


def read_setting(text: str, type_: Any) -> Any:
    """The value that the text stands for. Raises ValueError, whose text says what it must be."""
    if get_origin(type_) is Literal:
        choices = get_args(type_)
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        raise ValueError(f"{text!r} is not one of {', '.join(choices)}")
    if get_origin(type_) is tuple:
        try:
            return msgspec.json.decode(text, type=type_)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            # Without the text, which may have credentials.
            reason = " ".join(str(error).split())
            raise ValueError(f"... is not a list of ICE servers in JSON: {reason}") from None
    try:
        return msgspec.convert(text, type_, strict=False)
    except msgspec.ValidationError:
        _, meta = get_args(type_)
        raise ValueError(f"{text!r} is not {meta.description}") from None


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
