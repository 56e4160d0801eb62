"""Attacks with rooms: one message of a client makes the server write one to each member."""

import asyncio
from itertools import count

from tests.attacks.attack import attack
from tests.attacks.clients import Connection, Target, block, join, together


async def rejoin(target: Target, size: int) -> None:
    room = target.room()
    member, *others = await target.members(size, room)
    for other in others:
        other.stop_reading()  # It would take the attacker's time; the system has room for it all.
    await target.begin()
    await member.flood(join(room))


@attack(load=0.3)
async def rejoin_500(target: Target) -> None:
    """One member joins its own room of 500 again and again: 53 bytes cause 499 notices."""
    await rejoin(target, 500)


@attack(load=0.3)
async def rejoin_2000(target: Target) -> None:
    """One member joins its own room of 2,000 again and again: 53 bytes cause 1,999 notices."""
    await rejoin(target, 2000)


@attack()
async def everybody_rejoins(target: Target) -> None:
    """All 500 members of a room join it again and again."""
    room = target.room()
    members = await target.members(500, room)
    await target.begin()
    await asyncio.gather(*(member.flood(join(room)) for member in members))


@attack()
async def everybody_rejoins_small_rooms(target: Target) -> None:
    """All members of nine rooms of 45 join their own again and again: no room is large."""
    rooms = [target.room() for _ in range(9)]
    members = [(member, room) for room in rooms for member in await target.members(45, room)]
    await target.begin()
    await asyncio.gather(*(member.flood(join(room)) for member, room in members))


@attack(echoes=False)
async def moving_in_step(target: Target) -> None:
    """392 clients move from one of eight rooms to the next at once, ten times a second."""
    members = await target.members(392)
    await target.begin()
    for step in count():
        for number, member in enumerate(members):
            member.write(join(f"{step} {number % 8}"))
        await asyncio.sleep(0.1)


@attack()
async def moving(target: Target) -> None:
    """100 clients move between two rooms of 200 others: each move tells both rooms."""
    rooms = target.room(), target.room()
    for room in rooms:
        await target.members(200, room)
    movers = await target.members(100)
    await target.begin()
    moves = join(rooms[0]) + join(rooms[1])
    await asyncio.gather(*(mover.flood(moves) for mover in movers))


async def come_and_go(target: Target, size: int) -> None:
    clients = await target.websockets(size)
    await target.begin()

    async def move(client: Connection, room: str) -> None:
        await client.send(join(room) + client.number())
        await client.echo()

    while True:
        room = target.room()
        await asyncio.gather(*(move(client, room) for client in clients))


@attack(quick=True)
async def mass_join_500(target: Target) -> None:
    """500 clients join a new room at once, then the next: 125,000 notices each time."""
    await come_and_go(target, 500)


@attack()
async def mass_join_1000(target: Target) -> None:
    """1,000 clients join a new room at once, then the next: half a million notices each time."""
    await come_and_go(target, 1000)


@attack(echoes=False)
async def mass_leave(target: Target) -> None:
    """1,000 members of a room reset their connections at once: half a million notices."""
    members = await target.members(1000, target.room())
    await target.begin()
    for member in members:
        member.reset()


@attack(echoes=False)
async def revolving_door(target: Target) -> None:
    """20 clients at a time connect, join a room of 500 and reset their connection."""
    room = target.room()
    await target.members(500, room)
    await target.begin()
    while True:
        for visitor in await together(target.member(room) for _ in range(20)):
            visitor.reset()


@attack(quick=True)
async def log_flood(target: Target) -> None:
    """One client moves between two rooms as fast as it can: two records for each move."""
    member = await target.member()
    moves = join("attack-\u20ac" * 25) + join("attack-\u20ad" * 25)
    await target.begin()
    await member.flood(block(moves))
