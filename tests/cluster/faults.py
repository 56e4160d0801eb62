"""What befalls servers, their connections and Redis, and how often."""

from collections.abc import Callable, Mapping
from math import inf

from tests.cluster.world import LEASE, Server, World

Fault = Callable[[World, Server], None]

STANDSTILLS = (0.5, LEASE - 0.1, LEASE + 0.5, 8.0)
"""Seconds for which something stops: less than the lease, about as long, or longer."""


def break_link(world: World, server: Server) -> None:
    links = server.port.open_links()
    if links:
        noticed = world.random.random() < 0.7
        world.log("break a connection of", server.name, "" if noticed else "unnoticed")
        world.random.choice(links).break_off(noticed=noticed)


def flap(world: World, server: Server) -> None:
    """Break the connections of a server again and again."""
    for _ in range(6):
        world.loop.call_later(world.random.uniform(0, 1.0), break_link, world, server)


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


# How likely a step of a history is which fault.
NET: dict[Fault, float] = {break_link: 0.06, flap: 0.03, freeze_link: 0.02}
CRASH: dict[Fault, float] = {kill: 0.03, stop: 0.02, start: 0.05, pause: 0.04, break_link: 0.02}
CUT: dict[Fault, float] = {cut: 0.05, flap: 0.03, freeze_link: 0.02}
REDIS: dict[Fault, float] = {
    freeze_redis: 0.01,
    lose_redis: 0.02,
    restart_redis: 0.03,
    flush_redis: 0.02,
    flap: 0.03,
}
PROFILES: Mapping[str, Mapping[Fault, float]] = {
    "calm": {},
    "net": NET,
    "crash": CRASH,
    "cut": CUT,
    "redis": REDIS,
    "all": {fault: rate / 2 for fault, rate in (REDIS | CUT | CRASH | NET).items()},
}
