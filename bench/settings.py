"""The sizes of a run, which the command line sets and the load process follows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Sizes and times of a run. Times are in seconds."""

    rounds: int = 3
    seconds: float = 3.0
    """Length of one measured window."""
    warmup: float = 0.5
    """Load before a window opens, which is not measured, so that caches and compilers are warm."""
    message_bytes: int = 2500
    """Length of a whole offer or answer message as JSON."""
    pairs: int = 50
    """Rooms with two members that talk, in every scenario that relays."""
    idle_rooms: tuple[int, ...] = (0, 1000, 4000)
    """Numbers of idle rooms in the scenario `rooms`, ascending."""
    burst: int = 10
    """ICE candidates that are sent at once."""
    mesh_members: int = 60
    connect_clients: int = 20
    """Clients that connect, join and leave side by side."""
    connect_cycles: int = 20_000
    """Most connections made in one window, below the number of loopback ports."""
    idle_connections: int = 8000
    stall: float = 1.0
    """Silence after which a pair sends its next message without an answer."""
    drain: float = 2.0
    """Silence after a window, after which the messages that are missing count as lost."""
    step_timeout: float = 10.0
    """Time for one handshake, join or close."""
    settle: float = 40.0
    """Time for a server to notice that its clients have left."""
    token: str = ""
    """What clients say that they have been given, for a server that wants one."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """Rebuild settings from `to_json`; JSON has turned their tuple into a list."""
        return cls(**{**values, "idle_rooms": tuple(values["idle_rooms"])})


FULL = Settings()

QUICK = replace(
    FULL,
    rounds=1,
    seconds=0.5,
    warmup=0.2,
    pairs=10,
    idle_rooms=(0, 100, 300),
    mesh_members=12,
    connect_clients=5,
    connect_cycles=2000,
    stall=0.2,
    idle_connections=200,
    settle=5.0,
)
"""Enough to see that everything works. Its figures are not worth quoting."""
