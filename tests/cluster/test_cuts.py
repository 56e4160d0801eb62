"""A server is cut off from Redis, or its way there is frozen: nothing passes, not even an end.

Some messages are lost with a server that is taken for dead; none if it comes back in time.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from tests.cluster.conftest import LEASE, Connect, Start
from tests.cluster.members import (
    Told,
    is_ready,
    looking,
    members,
    two_and_one,
)
from tests.support.cable import Cable
from tests.support.peer import Peer, failed, leave_client, new_client, offer
from tests.support.valkey import Valkey
from tests.support.waiting import until

CUTS = [(Cable.cut, Cable.mend), (Cable.freeze, Cable.thaw)]


async def test_a_short_cut(cable: Cable, start: Start, connect: Connect, room: str) -> None:
    """A second without Redis loses nothing within a lease of two: what waits is sent after it."""
    (far,), (near,) = start(1, lease=2), start(1, lease=2, REDIS_URL=cable.url)
    async with await two_and_one(connect, room, near, far) as told:
        first, second, third = told.peers
        await looking(2)
        for cut, mend in CUTS:
            cut(cable)
            for number in range(20):
                await first.say("offer", client_id=third.id, sdp=f"{number}")
                await third.say("offer", client_id=second.id, sdp=f"{number}")
            newcomer = await connect(near)
            await newcomer.say("join", room_id=room)
            await asyncio.sleep(1)
            mend(cable)
            for sender, receiver in ((first, third), (third, second)):
                await until(lambda: len(told[receiver]) >= 20)  # noqa: B023
                assert [told[receiver].pop(0) for _ in range(20)] == [
                    offer(sender, f"{number}") for number in range(20)
                ]
            for peer in told.peers:
                await until(lambda: told.take(peer, new_client(newcomer)) == 1)  # noqa: B023
            await told.nothing()


@pytest.mark.parametrize(("cut", "mend"), CUTS, ids=["cut", "frozen"])
async def test_a_long_cut(
    cable: Cable,
    start: Start,
    connect: Connect,
    room: str,
    cut: Callable[[Cable], None],
    mend: Callable[[Cable], None],
) -> None:
    """A server without Redis for longer than its lease is dead to the others.

    Its members go on talking. When it is back, they are told that the others have left, and are
    there anew.
    """
    (far,), (near,) = start(1), start(1, REDIS_URL=cable.url)
    async with await two_and_one(connect, room, near, far) as told:
        first, second, third = told.peers
        cut(cable)
        for peer in (first, second):
            await until(lambda: leave_client(peer) in told[third])  # noqa: B023
        await is_ready(near, ready=False)
        await told.reach(first, second)
        await told.fail_to_reach(first, third)
        await told.fail_to_reach(third, second)
        assert told[first] == told[second] == []
        mend(cable)
        await told.meet_again()


async def test_both_are_cut_off(cable: Cable, start: Start, connect: Connect, room: str) -> None:
    """When no server has reached Redis for longer than the lease, nobody is taken for dead."""
    near, far = start(2, REDIS_URL=cable.url)
    async with await two_and_one(connect, room, near, far) as told:
        first, second, third = told.peers
        for cut, mend in CUTS:
            await looking(LEASE)
            cut(cable)
            await is_ready(near, far, ready=False)
            await told.reach(first, second)
            await told.fail_to_reach(first, third)
            await told.fail_to_reach(third, second)
            mend(cable)
            await is_ready(near, far)
            await looking(LEASE)
            await told.nothing()


async def test_dead_connections(cable: Cable, start: Start, connect: Connect, room: str) -> None:
    """A connection on which nothing comes, not even its end, is given up for another one."""
    (far,), (near,) = start(1), start(1, REDIS_URL=cable.url)
    async with await two_and_one(connect, room, near, far) as told:
        cable.strand()
        newcomer = await connect(near, room)
        await told.reach(newcomer, told.peers[-1])


async def test_what_is_sent_again_is_not_done_twice(
    cable: Cable, start: Start, connect: Connect, room: str
) -> None:
    """When a connection is lost after a command was carried out, nobody notices."""
    (far,), (near,) = start(1, lease=5), start(1, lease=5, REDIS_URL=cable.url)
    async with await two_and_one(connect, room, near, far) as told:
        first, second, third = told.peers
        cable.hold_answers()
        await told.reach(first, third)
        cable.reset()
        await told.nothing()

        newcomer = await connect(near)
        cable.hold_answers()
        await newcomer.say("join", room_id=room)
        await until(lambda: told.take(third, new_client(newcomer)) == 1)
        assert told[first] == told[second] == []
        cable.reset()
        for peer in (first, second):
            await until(lambda: told.take(peer, new_client(newcomer)) == 1)  # noqa: B023
        await told.nothing()

        cable.hold_answers()
        newcomer.abort()
        for peer in (first, second, third):
            await until(lambda: told.take(peer, leave_client(newcomer)) == 1)  # noqa: B023
        cable.reset()
        await told.nothing()


class Talk:
    """Two members on two servers that send each other numbered offers, as many as they can."""

    def __init__(self, told: Told, one: Peer, other: Peer) -> None:
        self._told = told
        self._ways = ((one, other), (other, one))
        self._enough = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._send(*way)) for way in self._ways]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._enough.set()
        await asyncio.gather(*self._tasks)
        await self._told.all_reach_all()

    async def _send(self, sender: Peer, receiver: Peer) -> int:
        sent = 0
        while not self._enough.is_set():
            for _ in range(5):
                sent += 1
                await sender.say("offer", client_id=receiver.id, sdp=f"{sent}")
            await asyncio.sleep(0.01)
        return sent

    def results(self) -> Iterator[tuple[int, list[int], int]]:
        """Yield how many each has sent, those that have arrived, and how many came back."""
        for (sender, receiver), task in zip(self._ways, self._tasks, strict=True):
            count = task.result()
            numbers = {offer(sender, f"{number}"): number for number in range(1, count + 1)}
            arrived = [numbers[text] for text in self._told[receiver] if text in numbers]
            yield count, arrived, self._told[sender].count(failed("offer"))


async def test_new_connections(
    cable: Cable, start: Start, connect: Connect, room: str, valkey: Valkey
) -> None:
    """Messages arrive once and in order over resets, CLIENT KILL and SCRIPT FLUSH."""
    near, far = start(2, lease=3, REDIS_URL=cable.url)
    one, other = await members(connect, room, near, far)
    async with Told([one], [other]) as told:
        with valkey.client() as redis:
            async with Talk(told, one, other) as talk:
                for _ in range(3):
                    cable.reset()
                    await asyncio.sleep(0.3)
                    redis.client_kill_filter(_type="normal", skipme=True)
                    await asyncio.sleep(0.3)
                    redis.script_flush()
                    await asyncio.sleep(0.3)
        for count, arrived, returned in talk.results():
            assert arrived == list(range(1, count + 1))
            assert returned == 0
        assert leave_client(other) not in told[one]
        assert leave_client(one) not in told[other]


async def test_new_memories(
    cable: Cable, start: Start, connect: Connect, room: str, valkey: Valkey
) -> None:
    """Messages arrive in order and once when servers enter anew, or come back.

    Only what Redis has forgotten may be lost, and what was on its way to or from a server that is
    taken for dead: its senders are told that the receivers have left. And what Redis has passed on
    but not confirmed before it forgot may both arrive and come back.
    """
    (far,), (near,) = start(1), start(1, REDIS_URL=cable.url)
    one, other = await members(connect, room, near, far)

    async def met(times: int) -> None:
        texts = [leave_client(other), leave_client(one)]
        async with asyncio.timeout(10):
            while [told[one].count(texts[0]), told[other].count(texts[1])] != [times] * 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await is_ready(near, far)
        await asyncio.sleep(LEASE)

    async with Told([one], [other]) as told:
        with valkey.client() as redis:
            async with Talk(told, one, other) as talk:
                await asyncio.to_thread(valkey.restart)
                await met(1)
                redis.flushall()
                await met(2)
                cable.freeze()
                await asyncio.sleep(LEASE * 1.5)
                cable.thaw()
                await met(3)
        for count, arrived, returned in talk.results():
            assert arrived == sorted(set(arrived))
            assert len(arrived) > count / 4
            assert returned > 0
