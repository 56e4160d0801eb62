"""Which peers count as there, and how the others end, on both protocols alike."""

from __future__ import annotations

import asyncio
import sys
from time import perf_counter, sleep

import pytest

from tests.support.client import (
    Client,
    Frame,
    Opcode,
    frame,
    text_frame,
)
from tests.transport.served import SMALL_BUFFER, Echo, Recorder, served

PING = Frame(Opcode.PING, b"", True)

MUCH = 4 * 1024 * 1024
"""More bytes than the kernel takes with `SMALL_BUFFER`."""

LITTLE = 60_000
"""More bytes than a client with `TINY_BUFFER` takes, all of which the server's kernel takes."""

TINY_BUFFER = 4096

on_both = pytest.mark.parametrize("tornado", [False, True], ids=["loop", "tornado"])

where_acknowledged = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells how much the peer has acknowledged"
)


async def receive_close(client: Client) -> tuple[int, str]:
    """Return the code and reason of the close, after any pings; do not answer it."""
    while (closing := await client.receive_frame()).opcode is not Opcode.CLOSE:
        assert closing == PING
    return int.from_bytes(closing.payload[:2]), closing.payload[2:].decode()


@on_both
async def test_who_is_silent_is_told_that_it_is_given_up(tornado: bool) -> None:
    """It is told with 1011, and the handler at once, without waiting for an answer."""
    async with served(
        tornado=tornado,
        websocket_ping_interval=0.05,
        websocket_ping_timeout=0.02,
        limits={"close_timeout": 600.0},
    ) as server:
        client = await server.connect()
        handler = await server.handler()
        await handler.is_closed()
        assert handler.close_code is None
        assert await receive_close(client) == (1011, "ping timeout")


@on_both
async def test_who_is_given_up_and_does_not_end_the_connection_is_dropped(tornado: bool) -> None:
    """What the peer still sends reaches nobody."""
    async with served(
        tornado=tornado,
        websocket_ping_interval=0.05,
        websocket_ping_timeout=0.02,
        limits={"close_timeout": 0.1},
    ) as server:
        client = await server.connect()
        handler = await server.handler()
        await handler.is_closed()
        await client.send_text("late")
        await client.end()
        assert "late" not in handler.seen
        # `served` waits until the connection is gone.


@on_both
@pytest.mark.parametrize("talk", [text_frame("x"), text_frame("x")[:1], frame(Opcode.PING)])
async def test_who_talks_need_not_answer_pings(tornado: bool, talk: bytes) -> None:
    """This holds whatever the peer sends, even half of a message."""
    async with served(Recorder, tornado=tornado, websocket_ping_interval=0.1) as server:
        client = await server.connect()
        handler = await server.handler()
        for number in range(6):
            while await client.receive_frame() != PING:
                pass
            await client.send(talk if number % 2 == 0 or len(talk) > 1 else text_frame("x")[1:])
        assert not handler.closed.is_set()


@on_both
async def test_who_talks_may_do_so_between_the_pings(tornado: bool) -> None:
    """A peer that is silent for less than an interval and a timeout stays, whenever it talks."""
    async with served(
        Recorder, tornado=tornado, websocket_ping_interval=0.4, websocket_ping_timeout=0.1
    ) as server:
        client = await server.connect()
        handler = await server.handler()
        for _ in range(4):
            await asyncio.sleep(0.38)
            await client.send_text("here")
        assert not handler.closed.is_set()
        start = asyncio.get_running_loop().time()
        await handler.is_closed()
        assert asyncio.get_running_loop().time() - start > 0.4
        assert await receive_close(client) == (1011, "ping timeout")


@on_both
async def test_who_takes_long_to_send_one_frame_is_there(tornado: bool) -> None:
    """This holds even if pings, which must not be answered within a frame, come meanwhile."""
    async with served(tornado=tornado, websocket_ping_interval=0.1) as server:
        client = await server.connect()
        data = text_frame("x" * 200)
        for start in range(0, len(data), 20):
            await client.send(data[start : start + 20])
            await asyncio.sleep(0.05)
        while (message := await client.receive_frame()) == PING:
            pass
        assert message.payload == b"x" * 200


@on_both
@pytest.mark.parametrize("size", [1000, MUCH])
async def test_who_talks_and_takes_nothing_is_given_up(tornado: bool, size: int) -> None:
    """A peer that takes nothing would never receive its backlog."""
    async with served(
        Recorder,
        tornado=tornado,
        buffer=SMALL_BUFFER,
        websocket_ping_interval=0.5,
        limits={"close_timeout": 0.1},
    ) as server:
        client = await server.connect(receive_buffer=SMALL_BUFFER)
        handler = await server.handler()
        client.stop_reading()
        async with asyncio.timeout(10):
            while not handler.closed.is_set():
                if handler.ws_connection is not None and not handler.ws_connection.unsent:
                    # The kernel has taken all so far.
                    handler.write_message(b"x" * size, binary=True)
                client.write(text_frame("x"))
                await asyncio.sleep(0.001)


@where_acknowledged
@on_both
@pytest.mark.parametrize("talk", [frame(Opcode.PONG), text_frame("x")], ids=["pongs", "messages"])
async def test_who_takes_nothing_of_what_the_kernel_keeps_is_given_up(
    tornado: bool, talk: bytes
) -> None:
    """Nothing is unsent, and whatever the peer sends does not help it."""
    async with served(
        Recorder,
        tornado=tornado,
        websocket_ping_interval=0.3,
        websocket_ping_timeout=0.2,
        limits={"close_timeout": 0.1},
    ) as server:
        client = await server.connect(receive_buffer=TINY_BUFFER)
        handler = await server.handler()
        client.stop_reading()
        handler.write_message(b"x" * LITTLE, binary=True)
        assert not handler.ws_connection.buffered
        async with asyncio.timeout(2):
            while not handler.closed.is_set():
                client.write(talk)
                await asyncio.sleep(0.01)


@where_acknowledged
@on_both
async def test_who_reads_slowly_what_the_kernel_keeps_is_there(tornado: bool) -> None:
    """That holds for longer than a peer stays that takes nothing."""
    async with served(
        tornado=tornado, websocket_ping_interval=0.3, websocket_ping_timeout=0.2
    ) as server:
        client = await server.connect(receive_buffer=TINY_BUFFER)
        handler = await server.handler()
        client.stop_reading()
        start = perf_counter()
        while perf_counter() - start < 1.5:
            if handler.ws_connection._untaken() < LITTLE // 2:
                handler.write_message(b"x" * (LITTLE // 2), binary=True)
            assert not handler.ws_connection.buffered
            client.resume_reading()
            await client.reader.read(1 << 16)
            client.stop_reading()
            await client.send(frame(Opcode.PONG))
            await asyncio.sleep(0.1)
        assert not handler.closed.is_set()


@on_both
async def test_who_takes_something_is_there_however_much_is_unsent(tornado: bool) -> None:
    """A peer that reads as fast as more is written is always behind by the same.

    With buffers this small, Linux may let 0.2 s pass before it sends more.
    """
    async with served(
        tornado=tornado,
        buffer=SMALL_BUFFER,
        websocket_ping_interval=0.6,
        websocket_ping_timeout=0.6,
    ) as server:
        client = await server.connect(receive_buffer=SMALL_BUFFER)
        handler = await server.handler()
        start = perf_counter()
        while perf_counter() - start < 2:
            while handler.ws_connection.unsent < MUCH // 4:
                handler.write_message(b"x" * 20_000, binary=True)
            await client.receive_frame()
            await client.send(frame(Opcode.PONG))
            await asyncio.sleep(0.002)
        assert not handler.closed.is_set()


@on_both
async def test_a_standstill_does_not_count(tornado: bool) -> None:
    """A peer that could not be heard meanwhile has all of its time again."""
    async with served(
        tornado=tornado,
        websocket_ping_interval=0.4,
        websocket_ping_timeout=0.2,
        limits={"standstill": 0.1},
    ) as server:
        client = await server.connect()
        handler = await server.handler()
        assert await client.receive_frame() == PING
        sleep(0.5)  # noqa: ASYNC251 - The server stands still too.
        # This is more than it has when it was only read late.
        await asyncio.sleep(0.1)
        await client.send(frame(Opcode.PONG))
        assert await client.receive_frame() == PING
        assert not handler.closed.is_set()
        await handler.is_closed()
        assert await receive_close(client) == (1011, "ping timeout")


@on_both
async def test_a_standstill_does_not_count_for_who_answers_no_pings(tornado: bool) -> None:
    """The same holds if a ping was late."""
    async with served(
        tornado=tornado,
        websocket_ping_interval=0.4,
        websocket_ping_timeout=0.1,
        limits={"standstill": 0.1},
    ) as server:
        client = await server.connect()
        handler = await server.handler()
        sleep(1)  # noqa: ASYNC251 - The server stands still too.
        await asyncio.sleep(0.35)
        await client.send_text("still here")
        await asyncio.sleep(0.35)
        assert not handler.closed.is_set()
        assert "still here" in handler.seen


# The end of peers that read slowly


async def read_slowly(client: Client) -> tuple[int, str]:
    """Read `MUCH`, 4 MiB a second, up to the close; return its code and reason."""
    await client.reader.readexactly(10)  # The header of the frame.
    for _ in range(0, MUCH, 1 << 17):
        await client.reader.readexactly(1 << 17)
        await asyncio.sleep(0.03)
    return await receive_close(client)


@on_both
@pytest.mark.parametrize(
    "buffer",
    [
        SMALL_BUFFER,
        pytest.param(
            None,
            marks=pytest.mark.skipif(
                sys.platform != "linux",
                reason="only Linux tells how much of its buffer it has sent",
            ),
        ),
    ],
    ids=["small-buffer", "large-buffer"],
)
async def test_who_reads_slowly_comes_to_read_the_close(tornado: bool, buffer: int | None) -> None:
    """This holds however long it takes, as long as the peer takes something."""
    async with served(
        Echo, tornado=tornado, buffer=buffer, limits={"close_timeout": 0.2}
    ) as server:
        client = await server.connect(receive_buffer=SMALL_BUFFER)
        handler = await server.handler()
        handler.write_message(b"x" * MUCH, binary=True)
        handler.close(1013, "slow")
        assert await read_slowly(client) == (1013, "slow")


@on_both
async def test_who_reads_slowly_has_not_for_ever(tornado: bool) -> None:
    """Its backlog is freed in the end."""
    async with served(
        Echo,
        tornado=tornado,
        buffer=SMALL_BUFFER,
        limits={"close_timeout": 0.2, "end_timeout": 0.5},
    ) as server:
        client = await server.connect(receive_buffer=SMALL_BUFFER)
        handler = await server.handler()
        handler.write_message(b"x" * MUCH, binary=True)
        handler.close(1013, "slow")
        start = asyncio.get_running_loop().time()
        reading = asyncio.create_task(read_slowly(client))
        await handler.is_closed()
        assert 0.5 < asyncio.get_running_loop().time() - start < 1.5
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reading


@on_both
async def test_who_does_not_read_at_all_is_dropped_soon(tornado: bool) -> None:
    """It has as much time as it has to answer the close, and no more."""
    async with served(
        Echo, tornado=tornado, buffer=SMALL_BUFFER, limits={"close_timeout": 0.2}
    ) as server:
        client = await server.connect(receive_buffer=SMALL_BUFFER)
        handler = await server.handler()
        client.stop_reading()
        handler.write_message(b"x" * MUCH, binary=True)
        await asyncio.sleep(0.1)
        handler.close(1013, "slow")
        start = asyncio.get_running_loop().time()
        await handler.is_closed()
        assert asyncio.get_running_loop().time() - start < 1
