"""Checks that take half a minute, all at once: `waiting` runs them beside the other tests."""

import asyncio
from collections.abc import Coroutine, Iterable

from tests.support.client import Connection, read_response
from tests.support.peer import PING, Peer

HALF_REQUESTS = [
    b"GET /conn",
    b"GET /connect HTTP/1.1\r\nHost: localhost\r\nUpgrade: webs",
    b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345",
]
WHOLE_REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def keepalive(url: str, delay: float, room: str | None) -> None:
    """Connect and perhaps join, and check that the next message is the keepalive."""
    await asyncio.sleep(delay)
    loop = asyncio.get_running_loop()
    start = loop.time()
    peer = await Peer.connect(url)
    if room is not None:
        await peer.join(room)
    peer.time_limit = 35
    assert await peer.receive_text() == PING
    assert 29.9 < loop.time() - start < 31
    peer.abort()


async def half_request(url: str, data: bytes, *, after_another: bool = False) -> None:
    """Send a part of a request and check that the connection ends after ten seconds."""
    loop = asyncio.get_running_loop()
    connection = await Connection.open(url)
    if after_another:
        await connection.send(WHOLE_REQUEST)
        assert (await read_response(connection.reader)).body == b"OK"
    await connection.send(data)
    start = loop.time()
    connection.time_limit = 20
    await connection.end()
    assert 9.5 < loop.time() - start < 12
    connection.abort()


async def idle(url: str) -> None:
    """Check that a connection that has been idle for half a minute is asked like a new one."""
    connection = await Connection.open(url)
    for pause in (0, 29):
        await asyncio.sleep(pause)
        await connection.send(WHOLE_REQUEST)
        assert (await read_response(connection.reader)).body == b"OK"
    connection.abort()


async def keepalive_and_deadlines(urls: Iterable[str], room: str, reference: bool) -> None:
    """Check the keepalive of each server and, unless it is the original, the deadlines."""
    waits: list[Coroutine[object, object, None]] = []
    for url in urls:
        waits += [
            keepalive(url, 0, None),
            keepalive(url, 0, f"{room}-1"),
            # Each client has a clock of its own.
            keepalive(url, 0.7, f"{room}-2"),
            idle(url),
        ]
        if not reference:
            waits += [half_request(url, data) for data in HALF_REQUESTS]
            waits.append(half_request(url, HALF_REQUESTS[1], after_another=True))
    await asyncio.gather(*waits)
