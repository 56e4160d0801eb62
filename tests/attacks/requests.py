"""Attacks before there is a WebSocket: with connections, and with HTTP requests."""

import asyncio
from contextlib import suppress

from tests.attacks.attack import attack
from tests.attacks.clients import Target, block
from tests.support.client import upgrade_request

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
GET_SDK = GET.replace(b"/health", b"/sdk/signaling.js")
LAST_GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

HEAD = b"GET /connect HTTP/1.1\r\nHost: localhost\r\n"
LONG_HEAD = HEAD + b"a:\r\n" * ((64 * 1024 - len(HEAD) - 2) // 4) + b"\r\n"

POST = b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"1\r\nx\r\n"


@attack(quick=True, echoes=False)
async def long_heads(target: Target) -> None:
    """30 requests a second have a head of 64 KiB in lines of four bytes, each parsed by itself."""
    await target.begin()
    while True:
        connection = await target.open()
        connection.write(LONG_HEAD)
        await asyncio.sleep(1 / 30)


@attack(echoes=False, env={"SIGNALING_HANDSHAKE_TIMEOUT": "1"})
async def slow_heads(target: Target) -> None:
    """500 connections send their request byte by byte, 20 times a second: each looks for its end.

    The server ends them when its handshake timeout is over, which is one second here.
    """
    await target.begin()
    request = upgrade_request(target.netloc, target.path, {"X": "x" * 1000})

    async def one() -> None:
        while True:
            with suppress(ConnectionError):
                connection = await target.open()
                for position in range(len(request)):
                    await connection.send(request[position : position + 1])
                    await asyncio.sleep(0.05)

    await asyncio.gather(*(one() for _ in range(500)))


@attack(echoes=False)
async def connects(target: Target) -> None:
    """50 clients at a time connect, shake hands and reset: a handshake costs as 30 relays."""
    await target.begin()

    async def one() -> None:
        while True:
            (await target.websocket()).reset()

    await asyncio.gather(*(one() for _ in range(50)))


@attack(echoes=False)
async def resets(target: Target) -> None:
    """300 clients at a time connect, ask for an upgrade and reset: they would be dead in line."""
    await target.begin()
    request = upgrade_request(target.netloc, target.path)

    async def one() -> None:
        while True:
            connection = await target.open()
            await connection.send(request)
            connection.reset()
            await connection.lost.wait()

    await asyncio.gather(*(one() for _ in range(300)))


@attack(echoes=False)
async def gets(target: Target) -> None:
    """50 clients at a time connect and make one request: the HTTP server's dearest way."""
    await target.begin()

    async def one() -> None:
        while True:
            connection = await target.open()
            connection.write(LAST_GET)
            await connection.lost.wait()

    await asyncio.gather(*(one() for _ in range(50)))


async def pipeline(target: Target, number: int) -> None:
    async def one() -> None:
        connection = await target.open()
        with suppress(ConnectionError):
            while True:
                await connection.send(block(GET))

    await target.begin()
    await asyncio.gather(*(one() for _ in range(number)))


@attack(echoes=False)
async def pipelined_gets(target: Target) -> None:
    """One connection sends requests without waiting for the answers, which it reads."""
    await pipeline(target, 1)


@attack(echoes=False)
async def pipelined_gets_100(target: Target) -> None:
    """100 connections send requests without waiting for the answers, which they read."""
    await pipeline(target, 100)


@attack(echoes=False, growth=64, dropped=True, env={"SIGNALING_HANDSHAKE_TIMEOUT": "1"})
async def unread_answers(target: Target) -> None:
    """20 connections send requests and read no answer: what waits for them is kept.

    The server ends them when its handshake timeout is over, which is one second here.
    """
    connections = [await target.open(receive_buffer=4096) for _ in range(20)]
    for connection in connections:
        connection.stop_reading()
    await target.begin()
    for connection in connections:
        connection.write(GET_SDK * 200)
    while True:
        # Who does not read learns only in this way that the connection is over.
        await asyncio.sleep(0.2)
        for connection in connections:
            if not connection.lost.is_set():
                connection.write(GET_SDK)


@attack(echoes=False)
async def chunks(target: Target) -> None:
    """20 connections at a time send a body in chunks of one byte: each is read by itself."""
    await target.begin()

    async def one() -> None:
        while True:
            with suppress(ConnectionError):
                connection = await target.open()
                await connection.send(POST)
                while not connection.lost.is_set():
                    await connection.send(block(CHUNK))

    await asyncio.gather(*(one() for _ in range(20)))


FILES = 512


@attack(echoes=False, files=FILES)
async def silent_clients(target: Target) -> None:
    """600 clients connect and never join, and come again: the server may have 512 files open."""
    await target.begin()
    await hold(target, shake_hands=True)


@attack(echoes=False, files=FILES)
async def silent_connections(target: Target) -> None:
    """600 connections send nothing, and come again: the server may have 512 files open."""
    await target.begin()
    await hold(target, shake_hands=False)


async def hold(target: Target, *, shake_hands: bool) -> None:
    """Keep 600 connections open; one that the server ends is opened again a little later."""

    async def one(number: int) -> None:
        await asyncio.sleep(number / 1000)
        while True:
            with suppress(ConnectionError):
                connection = await (target.websocket() if shake_hands else target.open())
                await connection.lost.wait()
            await asyncio.sleep(0.2)

    await asyncio.gather(*(one(number) for number in range(600)))
