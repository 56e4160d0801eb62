"""How much of everything a run does; the command line fills it, the load process obeys it."""

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
    """Load before a window opens, not measured, so that caches and compilers are warm."""
    message_bytes: int = 2500
    """Length of a whole offer or answer message as JSON."""
    pairs: int = 50
    """Rooms of two members that talk, in every scenario that relays."""
    idle_rooms: tuple[int, ...] = (0, 1000, 4000)
    """Steps of the `rooms` scenario, ascending."""
    burst: int = 10
    """ICE candidates that are sent at once."""
    mesh_members: int = 60
    connect_clients: int = 20
    """Clients that connect, join and leave side by side."""
    connect_cycles: int = 20_000
    """Upper bound of connections made in one window, below the number of loopback ports."""
    idle_connections: int = 8000
    stall: float = 1.0
    """A closed loop that heard nothing for so long goes on with its next message."""
    drain: float = 2.0
    """After a window: what is missing when nothing has arrived for so long is lost."""
    step_timeout: float = 10.0
    """Patience with one handshake, join or close."""
    settle: float = 40.0
    """Patience with a server that has yet to notice that its clients left."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """Rebuild settings from `to_json`, in which JSON has made the tuple a list."""
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
"""Enough to see that everything works; its figures are not worth quoting."""
