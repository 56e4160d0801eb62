"""Redis goes away and comes back: clients stay connected, and those on one server go on talking."""

import asyncio
import signal
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.cluster.conftest import LEASE, Connect, Start
from tests.cluster.members import (
    JOIN_FAILED,
    Told,
    is_ready,
    looking,
    status,
    two_and_one,
)
from tests.support.peer import leave_client, new_client
from tests.support.valkey import Valkey, running_valkey
from tests.support.waiting import until


@pytest.fixture
def valkey(request: pytest.FixtureRequest) -> Iterator[Valkey]:
    """Run a Valkey for each test, without persistence unless the parameter says so."""
    with running_valkey(persistent=getattr(request, "param", False)) as valkey:
        yield valkey


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    with valkey.client() as client:
        yield client


@pytest.mark.parametrize("valkey", [False, True], indirect=True, ids=["forgets", "persistent"])
async def test_redis_restarts(start: Start, connect: Connect, room: str, valkey: Valkey) -> None:
    """Members on one server go on talking; a message to another comes back as an error.

    When Redis is there again, all are in the room as before, after those on other servers have left
    and come for everybody. Nobody is disconnected, and whoever joined meanwhile is in too.
    """
    one, other = start(2)
    async with await two_and_one(connect, room, one, other) as told:
        first, second, third = told.peers
        valkey.kill()
        await is_ready(one, other, ready=False)
        assert await status(one, "/health") == 200
        await told.reach(first, second)
        await told.reach(second, first)
        await told.fail_to_reach(first, third)
        await told.fail_to_reach(third, second)
        late = await connect(other)
        await late.say("join", room_id=room)
        valkey.start()
        async with Told([late]) as late_told:
            for peer in told.peers:
                await until(
                    lambda: (
                        told.take(peer, new_client(late))  # noqa: B023
                        + late_told.take(late, new_client(peer))  # noqa: B023
                        == 1
                    )
                )
        await told.meet_again()


async def test_a_full_room_after_a_restart(
    start: Start, connect: Connect, room: str, valkey: Valkey
) -> None:
    """Whoever was in a full room has its place there again, though others wait to join it."""
    one, other = start(2, SIGNALING_MAX_ROOM_SIZE="3")
    async with await two_and_one(connect, room, one, other) as told:
        valkey.kill()
        await is_ready(one, other, ready=False)
        waiting = [await connect(server) for server in (one, other)]
        for peer in waiting:
            await peer.say("join", room_id=room)
        valkey.start()
        # Of those that wait, one may have been faster than the members on the other server.
        await told.meet_again(besides=waiting)


async def test_redis_restarts_at_once(
    start: Start, connect: Connect, room: str, valkey: Valkey
) -> None:
    """A restart shorter than the lease does not go unnoticed: what Redis knew is gone."""
    one, other = start(2, lease=3)
    async with await two_and_one(connect, room, one, other) as told:
        valkey.restart()
        await told.meet_again()


async def test_redis_stands_still(
    start: Start, connect: Connect, room: str, valkey: Valkey
) -> None:
    """When nobody could renew the lease, nobody is taken for dead: all are there as before."""
    one, other = start(2)
    async with await two_and_one(connect, room, one, other) as told:
        first, second, third = told.peers
        await looking(LEASE)
        valkey.pause()
        await is_ready(one, other, ready=False)
        await told.reach(first, second)
        await told.fail_to_reach(third, first)
        valkey.resume()
        await is_ready(one, other)
        await asyncio.sleep(LEASE * 2)  # Whoever looks for dead servers has done so.
        await told.nothing()


async def test_redis_is_emptied(start: Start, connect: Connect, room: str, redis: Redis) -> None:
    """After FLUSHALL all are there anew, as after a restart."""
    async with await two_and_one(connect, room, *start(2)) as told:
        redis.flushall()
        await told.meet_again()


async def test_redis_forgets_the_script(
    start: Start, connect: Connect, room: str, redis: Redis
) -> None:
    """After SCRIPT FLUSH all goes on, and no member is told anything."""
    one, other = start(2, lease=3)
    async with await two_and_one(connect, room, one, other) as told:
        for server in (one, other):
            redis.script_flush()
            newcomer = await connect(server, room)
            await newcomer.close()
            for peer in told.peers:
                await until(lambda: told.take(peer, leave_client(newcomer)) == 1)  # noqa: B023
                assert told.take(peer, new_client(newcomer)) == 1
        await told.nothing()


# Joins without Redis


async def test_redis_is_down_at_the_start(
    start: Start, connect: Connect, room: str, valkey: Valkey
) -> None:
    """The server starts and waits: `/health` is 200, `/ready` 503; joins wait until Redis comes."""
    valkey.kill()
    one, other = start(2)
    assert [await status(one, path) for path in ("/health", "/ready")] == [200, 503]
    first, second = await connect(one), await connect(other)
    for peer in (first, second):
        await peer.say("join", room_id=room)
        peer.in_room = True
    valkey.start()
    texts = [await first.received(), await second.received()]
    await is_ready(one, other)
    assert texts in ([[], []], [[new_client(second)], []], [[], [new_client(first)]])
    first.in_room = second.in_room = True
    async with Told([first], [second]) as told:
        known = new_client(second), new_client(first)
        await until(
            lambda: texts != [[], []] or known[0] in told[first] or known[1] in told[second]
        )


async def test_a_join_does_not_wait_for_ever(
    start: Start, connect: Connect, room: str, valkey: Valkey
) -> None:
    """After five seconds a join has failed. The client stays connected, and may try again."""
    valkey.kill()
    (server,) = start(1)
    loop = asyncio.get_running_loop()
    waiting = await connect(server)
    began = loop.time()
    await waiting.say("join", room_id=room)
    assert await waiting.receive() == JOIN_FAILED
    assert 4.9 < loop.time() - began < 7
    valkey.start()
    await is_ready(server)
    await waiting.join(room)
    other = await connect(server, room)
    assert await waiting.receive() == new_client(other)


async def test_the_server_stops_without_redis(
    start: Start, connect: Connect, room: str, valkey: Valkey
) -> None:
    """It does not wait for Redis then."""
    (server,) = start(1)
    member = await connect(server, room)
    joining = await connect(server)
    valkey.kill()
    await is_ready(server, ready=False)
    await joining.say("join", room_id=room)
    server.send_signal(signal.SIGTERM)
    assert await member.closed() == 1001
    assert await joining.rest() == ([JOIN_FAILED], 1001)
    joining.abort()
    assert await asyncio.to_thread(server.wait, 2) == 0
