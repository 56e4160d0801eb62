"""Random histories of clients and faults."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tests.cluster.checks import violations
from tests.cluster.faults import PROFILES, Fault
from tests.cluster.world import SimulatedClient, World, simulated

STEPS = 150
"""Faults, and acts of clients, in a history."""

QUIET = 10.0
"""Seconds after which all must be well again."""


def profile_of(seed: int) -> str:
    """Return the profile that a seed has if none is asked for."""
    return tuple(PROFILES)[seed % len(PROFILES)]


def repeat(seed: int, profile: str) -> str:
    """Return the command that shows what happens."""
    return f"python -m tests.cluster --profile {profile} --seeds {seed} {seed + 1} -v"


def simulate(seed: int, profile: str, trace: Callable[[str], None] | None = None) -> list[str]:
    """Run the history of a seed; return what does not hold at its end.

    `trace` is called with a line for each thing that happens.
    """
    world = World(seed, trace)
    faults = PROFILES[profile]
    with simulated(world), failures_in_the_log(world.loop.failures):
        try:
            _history(world, faults)
            world.log("quiet")
            _quiet(world)
            found = list(violations(world))
        finally:
            world.close()
    for violation in found:
        world.log("VIOLATION", violation)
    return found


@contextmanager
def failures_in_the_log(failures: list[str]) -> Iterator[None]:
    """Collect the exceptions that the services have only logged, and let nothing be printed."""

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info:
                failures.append(f"{record.getMessage()}: {record.exc_info[1]!r}")

    logger, collector = logging.getLogger("services"), Collector()
    logger.addHandler(collector)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(collector)
        logger.propagate = True


def _history(world: World, faults: Mapping[Fault, float]) -> None:
    random = world.random
    world.network.typical_delay = random.choice(
        [0.0005, 0.005, 0.05] if faults else [0.0005, 0.005]
    )
    world.max_room_size = random.choice([0, 0, 4])
    rooms = [f"r{number}" for number in range(random.choice([1, 1, 2, 3]))]
    again = random.random() < 0.2  # Clients may join the room in which they are.
    for _ in range(random.choice([2, 3, 3, 4])):
        world.start_server()
    world.run(random.choice([0.0, 0.5, 5.0]))
    slow = 5 if faults else 1
    for _ in range(STEPS):
        world.run(random.choice([0, 0, 0.0005, 0.01, 0.1, 0.5]) * random.random() * slow)
        fault = _choose(world, faults)
        if fault is not None:
            fault(world, random.choice(world.steady_servers))
        else:
            _act(world, rooms, again)


def _choose(world: World, faults: Mapping[Fault, float]) -> Fault | None:
    chance = world.random.random()
    for fault, rate in faults.items():
        chance -= rate
        if chance < 0:
            return fault
    return None


def _act(world: World, rooms: list[str], again: bool) -> None:
    """Let a client do something."""
    random = world.random
    clients = [client for client in world.clients if client.lives]
    chance = random.random()
    if chance < 0.25 or not clients:
        if len(clients) < 12:
            world.start_client(random.choice(world.steady_servers)).join(random.choice(rooms))
        return
    client = random.choice(clients)
    if chance < 0.35:
        client.close()
    elif chance < 0.45:
        client.join(_choose_room(client, rooms, again))
    else:
        for _ in range(random.choice([1, 1, 3])):
            client.send(random.choice(clients))
        if chance < 0.5:
            client.leave()
        elif chance < 0.55:
            client.join(_choose_room(client, rooms, again))


def _choose_room(client: SimulatedClient, rooms: list[str], again: bool) -> str:
    others = [room for room in rooms if again or room != client.room]
    return client.world.random.choice(others or ["another"])


def _quiet(world: World) -> None:
    """Let all be well again."""
    for server in world.live_servers:
        if server.loop.paused:
            server.resume()
        server.port.is_cut = False
    world.network.is_up = True
    world.network.frozen_until = 0.0
    world.network.typical_delay = 0.0005
    world.run(QUIET)
