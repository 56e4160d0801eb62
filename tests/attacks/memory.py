"""Attacks on the server's memory: with what it cannot send, and with what is not complete.

The servers may keep 32 MiB of such bytes. A byte that waits can cost more than a byte of memory,
and a client has its price too, so a server may grow by twice as much.
"""

import asyncio
from contextlib import suppress

from tests.attacks.attack import MIB, attack
from tests.attacks.clients import EMPTY, PONG, Connection, Target, block
from tests.support.client import Opcode, frame, text_frame
from tests.support.peer import message

BUFFERED = 32
CEILING = {"SIGNALING_MAX_BUFFERED": str(BUFFERED * MIB)}
GROWTH = 2 * BUFFERED

PONGS = 0.1
"""Seconds between two pongs, which show that the client is alive."""

MOST = 6 * MIB
"""Bytes of offers to itself that a client may leave unread: the server keeps up to 4 MiB, and the
system some 2.5 MiB."""

UNFINISHED = frame(Opcode.TEXT, b"x" * (MIB - 1), fin=False)


async def stay_alive(connection: Connection) -> None:
    while True:
        await connection.send(PONG)
        await asyncio.sleep(PONGS)


FULL = 40.0
"""Milliseconds for offers when a thousand clients send a gigabyte in a second or two: what takes
long is to receive it, which the event loop does before anybody is asked."""

IN_LINE = 5000.0
"""Milliseconds for newcomers when a thousand clients come again and again: they stand in line."""


@attack(quick=True, echoes=False, env=CEILING, growth=GROWTH)
async def unread_offers(target: Target) -> None:
    """100 clients do not read the 6 MiB that they send to themselves, and send pongs unasked."""

    async def one() -> None:
        while True:
            with suppress(ConnectionError):
                client = await target.member(receive_buffer=4096)
                client.stop_reading()
                sdp = "x" * 60_000
                offer = text_frame(message("offer", client_id=client.id, sdp=sdp))
                await client.send(block(offer, MOST))
                await stay_alive(client)

    await target.begin()
    await asyncio.gather(*(one() for _ in range(100)))


@attack(echoes=False, env=CEILING, growth=GROWTH)
async def unread_errors(target: Target) -> None:
    """100 clients send invalid messages and read no error: many small buffers are dear ones."""

    async def one() -> None:
        while True:
            with suppress(ConnectionError):
                client = await target.member(receive_buffer=4096)
                client.stop_reading()
                while True:
                    await client.send(block(EMPTY))

    await target.begin()
    await asyncio.gather(*(one() for _ in range(100)))


@attack(echoes=False, env=CEILING, growth=GROWTH, relay=FULL, newcomer=IN_LINE)
async def unfinished_messages(target: Target) -> None:
    """1,000 clients send 1 MiB of a message, then only pongs, which may stand between fragments."""

    async def one() -> None:
        while True:
            with suppress(ConnectionError):
                client = await target.member()
                await client.send(UNFINISHED)
                await stay_alive(client)

    await target.begin()
    await asyncio.gather(*(one() for _ in range(1000)))


@attack(echoes=False, env=CEILING, growth=GROWTH, relay=FULL, newcomer=IN_LINE)
async def unfinished_frames(target: Target) -> None:
    """1,000 clients send 1 MiB of a frame, all but its last byte."""

    async def one() -> None:
        while True:
            with suppress(ConnectionError):
                client = await target.member()
                await client.send(UNFINISHED[:-1])
                await client.lost.wait()

    await target.begin()
    await asyncio.gather(*(one() for _ in range(1000)))


@attack(echoes=False, env=CEILING, growth=GROWTH)
async def unfinished_fragments(target: Target) -> None:
    """100 clients send messages in fragments of one byte and do not finish them."""
    fragments = frame(Opcode.CONTINUATION, b"x", fin=False) * 2000

    async def one() -> None:
        client = await target.member()
        await client.send(frame(Opcode.TEXT, b"x", fin=False))
        with suppress(ConnectionError):
            for _ in range(500):
                await client.send(fragments)
            await stay_alive(client)

    await target.begin()
    await asyncio.gather(*(one() for _ in range(100)))


@attack(echoes=False, env=CEILING, growth=GROWTH)
async def unread_notices(target: Target) -> None:
    """300 members of a room do not read, and one of them joins it again and again."""
    room = target.room()
    members = [await target.member(room, receive_buffer=4096) for _ in range(300)]
    for member in members[1:]:
        member.stop_reading()
    await target.begin()
    rejoin = text_frame(message("join", room_id=room))
    await members[0].flood(rejoin)
