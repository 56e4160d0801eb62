"""Attacks with frames and messages: those that cost the server much more than their sender."""

import asyncio

from tests.attacks.attack import attack
from tests.attacks.clients import EMPTY, Connection, Target, block
from tests.support.client import Opcode, frame, text_frame
from tests.support.peer import message

MOST = 1 << 20
"""Bytes of the longest message that the server takes."""

PING = frame(Opcode.PING)

FRAGMENTED = (
    frame(Opcode.TEXT, b"x", fin=False)
    + frame(Opcode.CONTINUATION, b"x", fin=False) * 50_000
    + frame(Opcode.CONTINUATION, b"x")
)


def filled(start: str, unit: str, end: str, size: int = MOST) -> bytes:
    """Return a text message of at most ``size`` bytes, with as many units as fit into it."""
    return text_frame(start + unit * ((size - len(start) - len(end)) // len(unit)) + end)


LARGE = filled('{"type":"offer","payload":{"client_id":"nobody","sdp":"', r"a=x\r\n", '"}}')
KEYS = filled("{", '"a":1,', '"b":1}')
SURROGATES = r'{"type":"join","payload":{"room_id":"', r"\ud83d", '"}}'


async def flood(target: Target, number: int, data: bytes) -> None:
    """Send the same from this many clients, each alone in a room."""
    members = await target.members(number)
    await target.begin()
    await asyncio.gather(*(member.flood(data) for member in members))


@attack(echoes=False)
async def quiet(target: Target) -> None:
    """Nobody attacks: what the figures are without."""
    await target.begin()


@attack(quick=True)
async def empty_messages(target: Target) -> None:
    """50 clients send empty text messages: 6 bytes each, and the server answers with an error."""
    await flood(target, 50, block(EMPTY))


@attack()
async def empty_pings(target: Target) -> None:
    """10 clients send empty pings: 6 bytes each, and the server answers with a pong."""
    await flood(target, 10, block(PING))


@attack(quick=True)
async def fragments(target: Target) -> None:
    """5 clients send messages in fragments of one byte: a frame has to be parsed for each byte."""
    await flood(target, 5, FRAGMENTED)


@attack()
async def large_messages(target: Target) -> None:
    """10 clients send messages of 1 MiB, full of escapes: each takes milliseconds to decode."""
    await flood(target, 10, LARGE)


@attack()
async def crowded_reader(target: Target) -> None:
    """20 clients send small offers to one that reads: passing on costs more than an error."""
    room = target.room()
    members = await target.members(21, room)
    reader = members.pop()
    offer = text_frame(message("offer", client_id=reader.id, sdp="x" * 100))
    await target.begin()
    await asyncio.gather(*(member.flood(block(offer)) for member in members))


@attack()
async def half_surrogates(target: Target) -> None:
    """One client sends messages of 1 MiB of half surrogate pairs: each needs a second reading."""
    await flood(target, 1, filled(*SURROGATES))


@attack()
async def short_half_surrogates(target: Target) -> None:
    """10 clients send messages of 60 KiB of half surrogate pairs, which are given that reading."""
    await flood(target, 10, filled(*SURROGATES, size=60 * 1024))


@attack()
async def keys(target: Target) -> None:
    """10 clients send messages of 1 MiB that have nothing but keys, none of which is known."""
    await flood(target, 10, KEYS)


@attack()
async def nested(target: Target) -> None:
    """10 clients send messages of 1 MiB of nested lists: deep recursion, ended by an error."""
    await flood(target, 10, filled('{"x":', "[", ""))


@attack()
async def unknown_type(target: Target) -> None:
    """10 clients send messages of an unknown type that is 1 MiB long and not ASCII."""
    await flood(target, 10, filled('{"type":"', "\\u20ac", '"}'))


@attack()
async def candidates(target: Target) -> None:
    """50 clients send candidates to themselves and read them: the dearest honest message by byte.

    That is what a client may do, only much more often.
    """
    members = await target.members(50)
    await target.begin()

    async def one(member: Connection) -> None:
        candidate = message("ice-candidate", client_id=member.id, candidate="c")
        await member.flood(block(text_frame(candidate)))

    await asyncio.gather(*map(one, members))


BURST = block(EMPTY, 8 * 1024)


async def burst(connection: Connection) -> None:
    """Send 8 KiB of empty messages, and wait until the server has dealt with them."""
    await connection.send(BURST + connection.number())
    await connection.echo()


@attack()
async def idle_crowd(target: Target) -> None:
    """100 clients are idle for 150 ms, then each sends 8 KiB at once: none of them is greedy."""
    members = await target.members(100)
    await target.begin()
    while True:
        await asyncio.sleep(0.15)
        await asyncio.gather(*map(burst, members))


@attack()
async def fresh_crowd(target: Target) -> None:
    """100 new clients at a time send 8 KiB at once: none of them has used any time before."""
    await target.begin()
    while True:
        members = await target.members(100)
        await asyncio.gather(*map(burst, members))
        for member in members:
            member.reset()
