"""What happens while nothing happens: keepalive and deadlines."""

import asyncio
from collections.abc import Coroutine

import pytest

from tests.conformance.client import Connection, read_response
from tests.conformance.conftest import Connect, Members
from tests.conformance.peer import PING, Peer, leave_client, new_client

HALF_REQUESTS = [
    b"GET /conn",
    b"GET /connect HTTP/1.1\r\nHost: localhost\r\nUpgrade: webs",
    b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345",
]
WHOLE_REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def keepalive(url: str, delay: float, room: str | None) -> None:
    """Check that the next message, once one has connected and perhaps joined, is the keepalive."""
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
    """Check that a request of which only this was sent ends the connection after ten seconds."""
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


async def test_keepalive_and_deadlines(
    request: pytest.FixtureRequest, urls: dict[str, str], room: str
) -> None:
    """`ping` comes 30.0 s after each connect; a half-sent request is dropped after 10 s.

    All servers are tested at once, for it takes as long as it takes.
    """
    waits: list[Coroutine[object, object, None]] = []
    for url in urls.values():
        waits += [
            keepalive(url, 0, None),
            keepalive(url, 0, f"{room}-1"),
            # Each client has a clock of its own.
            keepalive(url, 0.7, f"{room}-2"),
        ]
        if not request.config.getoption("--reference"):
            waits += [half_request(url, data) for data in HALF_REQUESTS]
            waits.append(half_request(url, HALF_REQUESTS[1], after_another=True))
    await asyncio.gather(*waits)


@pytest.mark.slow
@pytest.mark.timeout(seconds=90)
@pytest.mark.differ
async def test_stalled_peer(members: Members, connect: Connect, room: str) -> None:
    """A peer that answers no WebSocket ping is gone within 60 s; one that does stays."""
    (member,) = await members(room, 1)
    stalled = await connect()
    await stalled.join(room)
    assert await member.receive() == new_client(stalled)
    stalled.stop_reading()
    member.time_limit = 60
    texts: list[str] = []
    loop = asyncio.get_running_loop()
    start = loop.time()
    while leave_client(stalled) not in texts:
        texts.append(await member.receive())
    assert loop.time() - start < 60
    assert [text for text in texts if text != PING] == [leave_client(stalled)]
    while texts.count(PING) < 2:
        texts.append(await member.receive())
    assert 59 < loop.time() - start < 61
    newcomer = await connect()
    await newcomer.join(room)
    assert await member.receive() == new_client(newcomer)
