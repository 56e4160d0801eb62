"""Random histories of clients and faults."""

from collections.abc import Callable, Mapping
from math import inf

from tests.cluster.checks import violations
from tests.cluster.world import LEASE, Server, SimulatedClient, World, simulated

Fault = Callable[[World, Server], None]

STANDSTILLS = (0.5, LEASE - 0.1, LEASE + 0.5, 8.0)
"""Seconds for which something stops: less than the lease, about as long, or longer."""


def break_link(world: World, server: Server) -> None:
    links = server.port.open_links()
    if links:
        noticed = world.random.random() < 0.7
        world.log("break a connection of", server.name, "" if noticed else "unnoticed")
        world.random.choice(links).break_off(noticed=noticed)


def freeze_link(world: World, server: Server) -> None:
    links = server.port.open_links()
    if links:
        seconds = world.random.choice([*STANDSTILLS, inf])
        world.log("freeze a connection of", server.name, "for", seconds)
        world.random.choice(links).freeze(seconds)


def kill(world: World, server: Server) -> None:
    if len(world.steady_servers) > 1:
        server.kill()


def stop(world: World, server: Server) -> None:
    if len(world.steady_servers) > 1 and not server.loop.paused:
        server.stop()


def start(world: World, server: Server) -> None:
    if len(world.live_servers) < 5:
        world.start_server()


def pause(world: World, server: Server) -> None:
    if not server.loop.paused:
        server.pause()
        world.loop.call_later(world.random.choice(STANDSTILLS), server.resume)


def cut(world: World, server: Server) -> None:
    """Keep a server away from Redis for a while."""
    if server.port.is_cut:
        return
    seconds = world.random.choice(STANDSTILLS)
    world.log("cut off", server.name, "for", seconds)
    server.port.is_cut = True
    noticed = world.random.random() < 0.5
    for link in server.port.open_links():
        link.break_off(noticed=noticed)

    def heal() -> None:
        world.log("heal", server.name)
        server.port.is_cut = False

    world.loop.call_later(seconds, heal)


def freeze_redis(world: World, server: Server) -> None:
    seconds = world.random.choice(STANDSTILLS)
    world.log("freeze Redis for", seconds)
    world.network.frozen_until = world.clock.now + seconds


def lose_redis(world: World, server: Server) -> None:
    """Let nobody reach Redis for a while, though it runs."""
    _take_down(world, world.random.choice(STANDSTILLS), "lose Redis")


def restart_redis(world: World, server: Server) -> None:
    """Restart Redis with all it knew, or without."""
    forgets = world.random.random() < 0.5
    _take_down(
        world, world.random.choice([0.01, 0.3, 2.0, 8.0]), f"restart Redis, forgets: {forgets}"
    )
    world.redis.run_id = str(int(world.redis.run_id) + 1)
    if forgets:
        world.redis.forget()


def flush_redis(world: World, server: Server) -> None:
    """Delete all keys (FLUSHALL)."""
    world.log("flush Redis")
    world.redis.forget()


def _take_down(world: World, seconds: float, what: str) -> None:
    if not world.network.is_up:
        return
    world.log(what, "for", seconds)
    world.network.is_up = False
    for server in world.live_servers:
        for link in server.port.open_links():
            link.break_off(noticed=world.random.random() < 0.8)

    def up() -> None:
        world.log("Redis is back")
        world.network.is_up = True

    world.loop.call_later(seconds, up)


NET: dict[Fault, float] = {break_link: 0.08, freeze_link: 0.02}
CRASH: dict[Fault, float] = {kill: 0.03, stop: 0.02, start: 0.05, pause: 0.04, break_link: 0.02}
CUT: dict[Fault, float] = {cut: 0.05, break_link: 0.03, freeze_link: 0.02}
REDIS: dict[Fault, float] = {
    freeze_redis: 0.01,
    lose_redis: 0.02,
    restart_redis: 0.03,
    flush_redis: 0.02,
    break_link: 0.02,
}
PROFILES: Mapping[str, Mapping[Fault, float]] = {
    "calm": {},
    "net": NET,
    "crash": CRASH,
    "cut": CUT,
    "redis": REDIS,
    "all": {fault: rate / 2 for fault, rate in (REDIS | CUT | CRASH | NET).items()},
}
"""How likely a step is which fault."""

STEPS = 150
QUIET = 10.0


def simulate(seed: int, profile: str, trace: Callable[[str], None] | None = None) -> list[str]:
    """Run the history of a seed; return what did not hold."""
    world = World(seed, trace)
    faults = PROFILES[profile]
    with simulated(world):
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


def _history(world: World, faults: Mapping[Fault, float]) -> None:
    random = world.random
    world.network.typical_delay = random.choice([0.0005, 0.005, 0.05] if faults else [0.0005, 0.005])
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
