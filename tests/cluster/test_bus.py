"""What is sent to Redis, and read from it, at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest

from services.redis_bus import AT_ONCE, SCRIPT, SHA, Link, RedisBus
from tests.cluster.redis_stand_in import RedisStandIn
from tests.support.waiting import until

TIMEOUT = 0.1


class Connection:
    """Takes the place of a `Link`; `answer` is awaited for the reply to each command."""

    def __init__(self, answer: Callable[[Sequence[Any]], Awaitable[Any]]) -> None:
        self._answer = answer
        self.asked: list[list[Sequence[Any]]] = []

    async def open(self) -> str:
        return "memory"

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        self.asked.append(list(commands))
        return [await self._answer(command) for command in commands]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def running(
    answer: Callable[[Sequence[Any]], Awaitable[Any]],
) -> AsyncIterator[tuple[RedisBus, list[Connection]]]:
    """Yield a bus that has begun, and its connections."""
    connections: list[Connection] = []

    def make_link() -> Link:
        connections.append(Connection(answer))
        return cast(Link, connections[-1])

    async def on_entry(server: str, fields: Sequence[bytes]) -> None:
        pass

    bus = RedisBus(make_link, "p", TIMEOUT, bool)
    bus.begin("memory", "server")
    task = asyncio.create_task(bus.run(lambda memory: None, on_entry))
    try:
        yield bus, connections
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_calls_that_are_not_answered_in_time_are_sent_in_smaller_parts() -> None:
    """However slow the connection is, something gets through; all are answered in order."""
    replies: list[int] = []

    def note(number: int) -> Callable[[object], None]:
        return lambda reply: replies.append(number)

    async def answer(command: Sequence[Any]) -> Any:
        if command[0] == "XREAD":
            await asyncio.sleep(TIMEOUT / 4)
            return None
        await asyncio.sleep(TIMEOUT / 20)
        return b"OK"

    async with running(answer) as (bus, connections):
        for number in range(AT_ONCE):
            bus.call(("join", number), note(number))
        await until(lambda: len(replies) == AT_ONCE)
        assert replies == sorted(replies)
        sent = [len(asked) for each in connections for asked in each.asked if len(asked) > 1]
        assert sent[:4] == [AT_ONCE, AT_ONCE // 2, AT_ONCE // 4, AT_ONCE // 8]


async def test_no_more_is_sent_at_once_than_a_server_can_carry_out_soon() -> None:
    """What waits goes there in parts."""
    replies: list[bytes] = []

    async def answer(command: Sequence[Any]) -> Any:
        if command[0] == "XREAD":
            await asyncio.sleep(TIMEOUT / 4)
            return None
        return b"OK"

    async with running(answer) as (bus, connections):
        for number in range(2 * AT_ONCE + 1):
            bus.call(("join", number), replies.append)
        await until(lambda: len(replies) == 2 * AT_ONCE + 1)
        sent = [asked for each in connections for asked in each.asked if asked[0][0] != "XREAD"]
        assert [*map(len, sent)] == [AT_ONCE, AT_ONCE, 1]


async def test_entries_that_do_not_come_in_time_are_read_in_smaller_parts() -> None:
    """However slow the connection is, something is read; then more again."""
    slow = True

    async def answer(command: Sequence[Any]) -> Any:
        most = int(command[2])
        await asyncio.sleep(TIMEOUT * 10 if slow and most > 16 else TIMEOUT / 4)

    def counts() -> list[int]:
        asked = [commands[0] for each in connections for commands in each.asked]
        return [int(command[2]) for command in asked if command[0] == "XREAD"]

    async with running(answer) as (_, connections):
        await until(lambda: 16 in counts())
        assert counts()[:4] == [128, 64, 32, 16]
        slow = False
        await until(lambda: counts()[-1] == AT_ONCE)


@pytest.mark.parametrize("again", [True, False], ids=["again", "for the first time"])
def test_a_beat_that_is_repeated_looks_for_nobody(again: bool) -> None:
    """It may have waited while Redis stood still, as those of the others may have."""
    now = 1000.0
    redis = RedisStandIn(lambda: now, SCRIPT)

    def call(command: str, server: str, number: int, *arguments: object) -> Any:
        texts = (command, server, number, 86_400_000, *arguments)
        return redis.execute(("EVALSHA", SHA, 1, "p", *map(str, texts)))

    def beat(server: str, number: int) -> Any:
        return call("beat", server, number, 3000, 1000, "0")

    for server in ("one", "other"):
        assert call("enter", server, 1, 3000, 1000, "0") == b"OK"
    for number in (2, 3, 4):
        now += 1
        assert beat("one", number) == b"OK"
    now += 1
    assert beat("one", 4 if again else 5) == b"OK"
    assert beat("other", 2) == (b"OK" if again else b"FENCED")
