"""However many requests come at once, few are taken up in one iteration of the event loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import thread_time

import pytest

from tests.support.client import (
    TIME_LIMIT,
    Client,
    read_response,
    text_frame,
    upgrade_request,
)
from tests.support.waiting import until
from tests.transport.served import Page, Recorder, Served, served
from transport import line as module
from transport.line import AT_ONCE, LONG, Line
from transport.protocol import LoopProtocol

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = upgrade_request("x", "/echo")
MANY = 50


async def test_those_who_come_together_are_taken_up_in_order_some_at_once() -> None:
    """The first do not wait at all, and who comes while others wait is the last."""
    line, taken = Line(), list[int]()
    for number in range(2 * AT_ONCE):
        line.enter(number, partial(taken.append, number))
    assert taken == list(range(AT_ONCE))
    line.leave(AT_ONCE)
    line.leave("a stranger")
    await asyncio.sleep(0)
    line.enter("late", partial(taken.append, -1))
    assert taken == [*range(AT_ONCE), *range(AT_ONCE + 1, 2 * AT_ONCE), -1]
    assert len(line) == 0


async def test_who_does_not_wait_in_one_iteration_counts_in_it() -> None:
    line, taken = Line(), list[int]()
    for iteration in (1, 2, 3):
        for number in range(AT_ONCE):
            line.enter(number, partial(taken.append, number))
        assert len(taken) == iteration * AT_ONCE
        line.enter(-1, partial(taken.append, -1))
        assert len(line) == 1
        line.leave(-1)
        await asyncio.sleep(0)


async def test_one_that_takes_long_is_the_last_of_its_iteration() -> None:
    """As a TLS handshake with a long key: four of them would take four times as long."""
    line, taken = Line(), list[str]()

    def take_up(name: str) -> None:
        taken.append(name)
        end = thread_time() + 2 * LONG
        while thread_time() < end:
            pass

    for name in "abc":
        line.enter(name, partial(take_up, name))
    for iteration in (1, 2, 3):
        assert len(taken) == iteration
        await asyncio.sleep(0)
    assert taken == [*"abc"]


async def test_a_request_that_fails_is_the_only_one_that_does() -> None:
    """The event loop reports it, and the next one is taken up."""
    line, taken, reported = Line(), list[str](), list[object]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def fail() -> None:
        raise RuntimeError("a mistake")

    for number in range(AT_ONCE):
        line.enter(number, lambda: None)
    line.enter("fails", fail)
    line.enter("next", lambda: taken.append("next"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert taken == ["next"]
    assert len(reported) == 1


class Iterations:
    """Counts the iterations of the event loop, and what happens in each."""

    def __init__(self) -> None:
        self.happened: Counter[int] = Counter()
        self._number = 0
        self._count()

    def _count(self) -> None:
        self._number += 1
        self._handle = asyncio.get_running_loop().call_soon(self._count)

    def note(self) -> None:
        self.happened[self._number] += 1

    def stop(self) -> None:
        self._handle.cancel()


async def kept_alive(server: Served) -> list[Client]:
    """Return connections whose first request was answered."""
    connections = [await server.open() for _ in range(MANY)]
    for connection in connections:
        connection.write(GET)
        await read_response(connection.reader)
    return connections


async def new(server: Served) -> list[Client]:
    return [await server.open() for _ in range(MANY)]


@pytest.mark.parametrize(
    ("connect", "request_"), [(new, UPGRADE), (new, GET), (kept_alive, GET), (kept_alive, UPGRADE)]
)
async def test_requests_that_come_at_once_are_spread(
    connect: Callable[[Served], Awaitable[list[Client]]],
    request_: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does not matter whether a connection is new, nor what it asks for."""
    async with served(Recorder) as server:
        connections = await connect(server)
        iterations = Iterations()
        monkeypatch.setattr(Page, "prepare", lambda _: iterations.note())
        monkeypatch.setattr(Recorder, "prepare", lambda _: iterations.note())
        for connection in connections:
            connection.write(request_)
        for connection in connections:
            assert (await read_response(connection.reader)).status in {101, 200}
        iterations.stop()
        assert iterations.happened.total() == MANY
        # In its iteration, a task may come before the count or after it.
        assert max(iterations.happened.values()) < 2 * AT_ONCE


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[[Served], None]:
    """Return a function that stops a server's line."""

    def hold(server: Served) -> None:
        monkeypatch.setattr(module, "AT_ONCE", 0)
        server.listener.line._free = 0

    return hold


def go(server: Served) -> None:
    module.AT_ONCE = AT_ONCE
    server.listener.line._next_iteration()


async def test_what_comes_while_the_head_waits_is_kept(held: Callable[[Served], None]) -> None:
    """That is what came with the head; the rest stays in the kernel, however much it is."""
    async with served() as server:
        held(server)
        client = await server.open()
        client.write(UPGRADE + text_frame("early"))
        await until(lambda: len(server.listener.line) == 1)
        (waiting,) = server.listener.arriving
        received = len(waiting._received)
        client.write(text_frame("x" * 1_000_000) + text_frame("late"))
        await asyncio.sleep(0.05)  # It has time to read more, and must not.
        assert len(waiting._received) == received
        go(server)
        assert (await read_response(client.reader)).status == 101
        assert await client.receive_text() == "early"
        assert len(await client.receive_text()) == 1_000_000
        assert await client.receive_text() == "late"
        assert isinstance((await server.handler()).ws_connection, LoopProtocol)


@pytest.mark.parametrize("first", [b"", GET])
async def test_who_waits_for_too_long_is_dropped(
    first: bytes, held: Callable[[Served], None]
) -> None:
    async with served(handshake_timeout=0.1) as server:
        connection = await server.open()
        if first:
            connection.write(first)
            await read_response(connection.reader)
        held(server)
        connection.write(UPGRADE)
        await until(lambda: len(server.listener.line) == 1)
        assert await connection.end() == b""
        assert len(server.listener.line) == 0


@pytest.mark.parametrize("request_", [UPGRADE, GET], ids=["upgrade", "get"])
async def test_who_goes_leaves_the_line(
    request_: bytes, held: Callable[[Served], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does so at once or in its turn, and nothing is done for it."""
    taken_up = list[object]()
    monkeypatch.setattr(Page, "prepare", lambda handler: taken_up.append(handler))
    monkeypatch.setattr(Recorder, "prepare", lambda handler: taken_up.append(handler))
    async with served(handshake_timeout=2 * TIME_LIMIT) as server:
        kept = await server.open()
        kept.write(GET)
        await read_response(kept.reader)
        assert len(taken_up) == 1
        held(server)
        other = await server.open()
        kept.write(GET)
        other.write(request_)
        await until(lambda: len(server.listener.line) == 2)
        kept.reset()
        await until(lambda: len(server.listener.line) == 1)
        other.reset()
        with suppress(ConnectionError):
            await other.writer.wait_closed()
        go(server)
        await until(lambda: not server.listener.newcomers)
        assert len(taken_up) == 1
