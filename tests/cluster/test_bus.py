"""What is sent to Redis, and read from it, at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest

from services.redis_bus import AT_ONCE, PORTION, SCRIPT, SHA, Link, RedisBus
from tests.cluster.redis_stand_in import RedisStandIn
from tests.support.waiting import until

MEMORY = "memory"
TIMEOUT = 0.1


class Connection:
    """Takes the place of a `Link`; `answer` is awaited for the reply to each command."""

    memory = MEMORY

    def __init__(self, answer: Callable[[Sequence[Any]], Awaitable[Any]]) -> None:
        self._answer = answer
        self.asked: list[list[Sequence[Any]]] = []

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

    async def connect() -> Link:
        connections.append(Connection(answer))
        return cast(Link, connections[-1])

    async def on_entries(server: str, entries: Sequence[Sequence[bytes]]) -> None:
        pass

    bus = RedisBus(connect, "p", TIMEOUT)
    bus.begin(MEMORY, "server")
    task = asyncio.create_task(bus.run(lambda memory: None, on_entries))
    try:
        yield bus, connections
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_no_more_is_sent_at_once_than_can_be_answered_in_time() -> None:
    """Neither too many commands nor too many bytes; and all are answered in order."""
    replies: list[int] = []

    def note(number: int) -> Callable[[object], None]:
        return lambda reply: replies.append(number)

    async def answer(command: Sequence[Any]) -> Any:
        if command[0] == "XREAD":
            await asyncio.sleep(TIMEOUT / 4)
            return None
        return b"OK"

    async with running(answer) as (bus, connections):
        for number in range(2 * AT_ONCE + 1):
            bus.call(("join", number), note(number))
        for number in range(1000, 1005):
            data = bytes(PORTION // 2)
            bus.deliver("other", data, note(number))
        await until(lambda: len(replies) == 2 * AT_ONCE + 6)
        assert replies == sorted(replies)
        assert bus.waiting == 0
        sent = [asked for each in connections for asked in each.asked if asked[0][0] != "XREAD"]
        assert max(map(len, sent)) == AT_ONCE
        sizes = [sum(len(each[-1]) for each in asked if each[0] == "XADD") for asked in sent]
        assert max(sizes) == PORTION


async def test_what_does_not_come_in_time_is_read_in_smaller_parts() -> None:
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

    for server in ("one", "other"):
        assert call("enter", server, 1, 3000) == b"OK"
    now += 4
    assert call("beat", "one", 2, 3000, 1000, 1) == b"OK"
    assert call("beat", "one", 2 if again else 3, 3000, 1000, 1) == b"OK"
    other = call("beat", "other", 2, 3000, 1000, 0)
    assert other == (b"OK" if again else b"FENCED")
