"""Two hundred clients come to one room on three servers, talk and go.

What they were told must be explained by one history of the room: one order of joins, in which each
member was told of those that came after it, until it left.
"""

import asyncio
import json
from collections import defaultdict
from random import Random
from uuid import uuid4

import pytest

from tests.cluster.conftest import Start
from tests.cluster.members import is_ready
from tests.support.client import ClosedError, close_frame
from tests.support.peer import Peer, failed
from tests.support.server_process import ServerProcess

VISITORS = 200
AT_ONCE = 60
"""How many of them are there at one time: each join and departure is told to as many."""


class Member:
    """A client's stay in the room, and when it was told what."""

    def __init__(self, peer: Peer, server: int) -> None:
        self.peer = peer
        self.server = server
        self.joined = self.leaves = 0.0
        self.new: dict[str, float] = {}
        self.left: dict[str, float] = {}
        self.sent: defaultdict[str, int] = defaultdict(int)
        self.arrived: defaultdict[str, list[int]] = defaultdict(list)
        """The numbers of the offers, by their senders."""
        self.errors = 0
        self._is_in = asyncio.Event()

    async def stay(self, room: str) -> None:
        """Join and take down everything until the connection ends."""
        now = asyncio.get_running_loop().time
        self.peer.time_limit = 30
        await self.peer.say("join", room_id=room)
        await self.offer(self.peer.id)  # It comes back when the join is done.
        try:
            while True:
                text = await self.peer.receive()
                if text == failed("offer"):
                    self.errors += 1
                    continue
                payload = json.loads(text)["payload"]
                who = payload["client_id"]
                if "sdp" in payload:
                    self.arrived[who].append(int(payload["sdp"]))
                    if who == self.peer.id:
                        self.joined = now()
                        self._is_in.set()
                else:
                    notices = self.new if json.loads(text)["type"] == "new-client" else self.left
                    assert who not in notices, f"told twice: {text}"
                    notices[who] = now()
        except ClosedError:
            pass

    async def is_in(self) -> None:
        await self._is_in.wait()

    async def offer(self, to: str) -> None:
        self.sent[to] += 1
        await self.peer.say("offer", client_id=to, sdp=str(self.sent[to]))

    async def leave(self) -> None:
        self.leaves = asyncio.get_running_loop().time()
        await self.peer.send(close_frame(1000))


async def visit(server: ServerProcess, number: int, room: str, random: Random) -> Member:
    """Come, offer something to those who came later and to oneself, and go."""
    member = Member(await Peer.connect(server.url), number)
    async with asyncio.TaskGroup() as group:
        group.create_task(member.stay(room))
        await member.is_in()
        for _ in range(3):
            await asyncio.sleep(random.uniform(0, 0.2))
            for other in random.sample(sorted(member.new), min(5, len(member.new))):
                await member.offer(other)
        await member.leave()
    member.peer.abort()
    return member


@pytest.mark.churn
@pytest.mark.timeout(seconds=60)
async def test_two_hundred_clients(start: Start) -> None:
    room, random = f"room-{uuid4()}", Random(1)
    servers = start(3, lease=3)
    await is_ready(*servers)
    # One on each server is there all the time.
    witnesses = [Member(await Peer.connect(server.url), n) for n, server in enumerate(servers)]
    there = asyncio.Semaphore(AT_ONCE)

    async def come_and_go() -> Member:
        async with there:
            number = random.randrange(3)
            return await visit(servers[number], number, room, random)

    async with asyncio.TaskGroup() as group:
        for witness in witnesses:
            group.create_task(witness.stay(room))
            await witness.is_in()
        visits = [group.create_task(come_and_go()) for _ in range(VISITORS)]
        visitors = [await task for task in visits]
        ids = {visitor.peer.id for visitor in visitors}
        async with asyncio.timeout(10):
            for witness in witnesses:
                while not witness.left.keys() >= ids:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        for witness in witnesses:
            await witness.leave()
    for witness in witnesses:
        witness.peer.abort()

    order = [witness.peer.id for witness in witnesses] + [
        who for who in witnesses[0].new if who in ids
    ]
    members = {member.peer.id: member for member in [*witnesses, *visitors]}
    assert members.keys() == set(order)
    for place, member in enumerate(map(members.__getitem__, order)):
        check(member, order[:place], order[place + 1 :], members, witnesses[member.server])


def check(
    member: Member,
    earlier: list[str],
    later: list[str],
    members: dict[str, Member],
    witness: Member,
) -> None:
    """Check what one member was told against the order of joins, and against the witness.

    The witness is on the same server, so that each of the two is told at the same moment.
    """
    # Of the joins: those that followed its own, in their order, until it left.
    assert list(member.new) == later[: len(member.new)]
    missing = later[len(member.new) :]
    assert [who for who in missing if witness.new.get(who, member.leaves) < member.leaves] == []
    # Of departures: those of members that it knew or that had been there before it.
    assert member.left.keys() <= {*earlier, *member.new}
    met = {*member.new, *(who for who in earlier if members[who].leaves > member.joined)}
    for who in met - member.left.keys():
        assert witness is member or witness.left.get(who, member.leaves) >= member.leaves
    # Of offers: each once, in order; all, if neither of the two has left.
    for who, numbers in member.arrived.items():
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) <= members[who].sent[member.peer.id]
    arrived = sum(len(members[who].arrived[member.peer.id]) for who in member.sent)
    assert arrived + member.errors <= sum(member.sent.values())
    for who, count in member.sent.items():
        if members[who].leaves > member.leaves + 1:
            assert len(members[who].arrived[member.peer.id]) == count
