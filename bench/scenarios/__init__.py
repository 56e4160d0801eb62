"""The scenarios that a server is put through.

A scenario is a coroutine that takes a `Context` and emits one `Measurement` for each of its cases.
`--help` shows the first line of its docstring.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.scenarios import connect, idle, latency, mesh, relay
from bench.scenarios.context import Context
from bench.settings import Settings


@dataclass(frozen=True)
class Scenario:
    """A scenario and its size."""

    run: Callable[[Context], Awaitable[None]]
    cases: Callable[[Settings], list[str]]
    """Returns the names of the measurements that a whole run emits."""
    connections: Callable[[Settings], int]
    """Returns the most connections that the scenario holds open at once."""

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (self.run.__doc__ or "").partition("\n")[0]


def _pairs(settings: Settings) -> int:
    return 2 * settings.pairs


SCENARIOS: dict[str, Scenario] = {
    "relay": Scenario(relay.relay, lambda _: ["relay"], _pairs),
    "rooms": Scenario(
        relay.rooms, relay.rooms_cases, lambda s: 2 * s.pairs + max(s.idle_rooms, default=0)
    ),
    "candidates": Scenario(relay.candidates, lambda _: ["candidates"], _pairs),
    "mesh": Scenario(mesh.mesh, lambda _: ["mesh"], lambda s: s.mesh_members),
    "connect": Scenario(connect.connect, lambda _: ["connect"], lambda s: s.connect_clients),
    "idle": Scenario(idle.idle, lambda _: list(idle.CASES), lambda s: s.idle_connections),
    "latency": Scenario(latency.latency, lambda _: ["latency"], _pairs),
}
