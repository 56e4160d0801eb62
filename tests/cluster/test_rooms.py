"""Rooms whose members are on two servers are as rooms on one."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.cluster.conftest import Connect, Start, starting
from tests.cluster.members import FULL_SDP, JOIN_FAILED, Told, heard, members, relays
from tests.support.peer import (
    INVALID_PAYLOAD,
    Peer,
    answer,
    failed,
    ice_candidate,
    leave_client,
    message,
    new_client,
    offer,
)
from tests.support.server_process import ServerProcess
from tests.support.valkey import Valkey

Pair = tuple[ServerProcess, ServerProcess]


@pytest.fixture(scope="module")
def servers(valkey: Valkey) -> Iterator[Pair]:
    """Run two servers for the tests that leave them as they are."""
    with starting(valkey) as start:
        one, other = start(2, lease=3)
        yield one, other


async def test_a_newcomer_is_told_of_by_the_others(
    servers: Pair, connect: Connect, room: str
) -> None:
    """Each member gets one `new-client`, on whichever server; the newcomer is told nothing."""
    one, other = servers
    peers = await members(connect, room, one, other, one, other)
    assert await heard(*peers) == [[], [], [], []]


async def test_two_joins_at_one_instant(servers: Pair, connect: Connect, room: str) -> None:
    """Of two that join on two servers at one instant, exactly one is told of the other."""
    one, other = [await connect(server) for server in servers]
    first: list[Peer] = []
    async with Told([one], [other]) as told:
        for number in range(50):
            for peer in [one, other] if number % 2 else [other, one]:
                await peer.say("join", room_id=f"{room}-{number}")
            await told.meet(one, other)
            await told.reach(one, other)
            await told.reach(other, one)
            news = [told.take(one, new_client(other)), told.take(other, new_client(one))]
            assert sorted(news) == [0, 1], number
            first.append(one if news[0] else other)
            # Whoever leaves the last room before the other does is not told of that.
            for peer in (one, other):
                for text in (leave_client(one), leave_client(other)):
                    told.take(peer, text)
        await told.nothing()
    # Otherwise there was no race.
    assert {*first} == {one, other}


async def test_relays_in_order(servers: Pair, connect: Connect, room: str) -> None:
    """Messages arrive once and in the order in which they were sent, both ways at once."""
    pair = await members(connect, room, *servers)

    async def send(sender: Peer, receiver: Peer) -> None:
        for number in range(100):
            await sender.say("offer", client_id=receiver.id, sdp=f"{number} {FULL_SDP}")
            await sender.say("answer", client_id=receiver.id, sdp=f"{number}")
            await sender.say("ice-candidate", client_id=receiver.id, candidate=f"{number}")

    async def receive(sender: Peer, receiver: Peer) -> None:
        for number in range(100):
            assert await receiver.receive() == offer(sender, f"{number} {FULL_SDP}")
            assert await receiver.receive() == answer(sender, f"{number}")
            assert await receiver.receive() == ice_candidate(sender, f"{number}")

    ways = [pair, pair[::-1]]
    await asyncio.gather(*(send(*way) for way in ways), *(receive(*way) for way in ways))
    assert await heard(*pair) == [[], []]


async def test_longest_message(servers: Pair, connect: Connect, room: str) -> None:
    """A message of a megabyte, the longest there is, arrives as any other, and in order."""
    first, second = await members(connect, room, *servers)
    longest = "x" * ((1 << 20) - len(message("offer", client_id=first.id, sdp="")))
    for sender, receiver in ((first, second), (second, first)):
        for sdp in ("before", longest, "after"):
            await sender.say("offer", client_id=receiver.id, sdp=sdp)
        for sdp in ("before", longest, "after"):
            assert await receiver.receive() == offer(sender, sdp)


async def test_a_relay_to_somebody_who_has_left(servers: Pair, connect: Connect, room: str) -> None:
    """Whoever has been told that a member has left gets an error for each message to it."""
    first, second = await members(connect, room, *servers)
    await second.close()
    assert await first.receive() == leave_client(second)
    for kind in ("offer", "answer"):
        await first.say(kind, client_id=second.id, sdp="x")
        assert await first.received() == [failed(kind)]


async def test_a_relay_to_somebody_who_is_leaving(
    servers: Pair, connect: Connect, room: str
) -> None:
    """Those messages arrive that come before the departure; the others come back as errors."""
    one, other = servers
    (stayer,) = await members(connect, room, one)
    for number in range(20):
        mover = await connect(other, room)
        assert await stayer.receive() == new_client(mover)
        sdps = [f"{number}-{index}" for index in range(40)]
        for index, sdp in enumerate(sdps):
            await stayer.say("offer", client_id=mover.id, sdp=sdp)
            if index == number:
                await mover.say("join", room_id=f"{room}-2")
            await asyncio.sleep(0)
        told = await stayer.received()
        while told.count(leave_client(mover)) + told.count(failed("offer")) == 0:
            told.append(await stayer.receive())
        arrived = await mover.received()
        assert arrived == [offer(stayer, sdp) for sdp in sdps[: len(arrived)]]
        while len(told) < 1 + len(sdps) - len(arrived):
            told.append(await stayer.receive())
        assert sorted(told) == sorted(
            [failed("offer")] * (len(sdps) - len(arrived)) + [leave_client(mover)]
        )
        await mover.close()
        assert await stayer.received() == []


async def test_rooms_are_apart(servers: Pair, connect: Connect, room: str) -> None:
    """Nothing passes from one room to another, even if it is addressed to somebody there."""
    ours = await members(connect, f"{room}-1", *servers)
    theirs = await members(connect, f"{room}-2", *servers)
    for sender in ours:
        for receiver in theirs:
            await sender.say("offer", client_id=receiver.id, sdp="x")
    assert await heard(*ours) == [[failed("offer")] * 2] * 2
    assert await heard(*theirs) == [[], []]


async def test_joining_again(servers: Pair, connect: Connect, room: str) -> None:
    """A member that joins its room again is announced again, and stays the member it was."""
    first, second = await members(connect, room, *servers)
    for _ in range(3):
        await first.join(room)
        assert await second.receive() == new_client(first)
    await relays(first, second)
    await relays(second, first)
    assert await heard(first, second) == [[], []]


async def test_joining_another_room(servers: Pair, connect: Connect, room: str) -> None:
    """The members of the room that a client leaves are told so; it is out of their reach."""
    mover, first = await members(connect, f"{room}-1", *servers)
    second, third = await members(connect, f"{room}-2", *servers)
    await mover.join(f"{room}-2")
    assert await first.receive() == leave_client(mover)
    for peer in (second, third):
        assert await peer.receive() == new_client(mover)
    await first.say("offer", client_id=mover.id, sdp="x")
    assert await first.received() == [failed("offer")]
    await relays(third, mover)
    assert await heard(mover, second, third) == [[], [], []]


async def close(peer: Peer) -> None:
    await peer.close(1001)


async def reset(peer: Peer) -> None:
    peer.reset()


async def disconnect(peer: Peer) -> None:
    peer.abort()


@pytest.mark.parametrize("end", [close, reset, disconnect])
async def test_leaving(
    servers: Pair, connect: Connect, room: str, end: Callable[[Peer], Awaitable[None]]
) -> None:
    """All members are told once that a client has left, however it ends."""
    one, other = servers
    leaver, *stayers = await members(connect, room, one, other, one, other)
    await end(leaver)
    for peer in stayers:
        assert await peer.receive() == leave_client(leaver)
    assert await heard(*stayers) == [[], [], []]


async def test_leaving_while_joining(servers: Pair, connect: Connect, room: str) -> None:
    """A client that ends while it joins is told of as new and then as gone, or not at all."""
    one, other = servers
    (stayer,) = await members(connect, room, one)
    for number in range(20):
        passer = await connect(other)
        await passer.say("join", room_id=room)
        if number % 2:
            passer.reset()
        else:
            await passer.close()
        witness = await connect(other, room)
        texts = []
        while (text := await stayer.receive()) != new_client(witness):
            texts.append(text)
        await witness.close()
        while (text := await stayer.receive()) != leave_client(witness):
            texts.append(text)
        assert texts in ([], [new_client(passer), leave_client(passer)])


async def test_a_room_ends_with_its_last_member(servers: Pair, connect: Connect, room: str) -> None:
    """Nobody is left over in a room: the next to join is alone, on each server."""
    one, other = servers
    for server in (one, other, one):
        first, second = await members(connect, room, one, other)
        await first.close()
        assert await second.receive() == leave_client(first)
        await second.close()
        third = await connect(server, room)
        await third.say("offer", client_id=second.id, sdp="x")
        assert await third.received() == [failed("offer")]
        await third.close()


async def test_prefixes_keep_clusters_apart(start: Start, connect: Connect, room: str) -> None:
    """Servers with another `SIGNALING_CLUSTER_PREFIX` share nothing with these, on one Valkey."""
    first, second = await members(connect, room, *start(2))
    (stranger,) = await members(connect, room, *start(1, SIGNALING_CLUSTER_PREFIX="another"))
    await stranger.say("offer", client_id=first.id, sdp="x")
    assert await stranger.received() == [failed("offer")]
    assert await heard(first, second) == [[], []]


@pytest.mark.parametrize("shared", [True, False], ids=["two-servers", "without-redis"])
async def test_a_full_room(start: Start, connect: Connect, room: str, shared: bool) -> None:
    """A room takes SIGNALING_MAX_ROOM_SIZE members, on all servers; others stay where they are."""
    if shared:
        one, other = start(2, SIGNALING_MAX_ROOM_SIZE="2")
    else:
        (one,) = (other,) = start(1, SIGNALING_MAX_ROOM_SIZE="2", REDIS_URL="")
    first, second = await members(connect, room, one, other)
    third, fourth = await members(connect, f"{room}-2", one, other)
    await third.say("join", room_id=room)
    assert await third.received() == [JOIN_FAILED]
    await relays(fourth, third)
    await second.join(room)  # Whoever is in it may join it again.
    assert await first.receive() == new_client(second)
    await first.close()
    assert await second.receive() == leave_client(first)
    await third.join(room)
    assert await second.receive() == new_client(third)
    assert await fourth.receive() == leave_client(third)


async def test_one_place_left(start: Start, connect: Connect, room: str) -> None:
    """Of those that join on two servers at once, as many get in as there are places."""
    servers = start(2, SIGNALING_MAX_ROOM_SIZE="3")
    peers = [await connect(servers[number % 2]) for number in range(8)]
    for peer in peers:
        await peer.say("join", room_id=room)
    refused = []
    for peer in peers:
        await peer.say("join", room_id=0)  # An invalid payload marks the end of the first join.
        texts = []
        while (text := await peer.receive()) != INVALID_PAYLOAD:
            texts.append(text)
        if JOIN_FAILED in texts:
            refused.append(peer)
    assert len(refused) == 5


async def test_the_server_stops(start: Start, connect: Connect, room: str) -> None:
    """Members elsewhere are told at once, long before the lease ends, and told once."""
    stays, stops = start(2, lease=30)
    stayers = await members(connect, room, stays, stays)
    leavers = [await connect(stops, room) for _ in range(3)]
    told, _, *_ = await heard(*stayers, *leavers)
    assert told == [new_client(leaver) for leaver in leavers]
    stops.send_signal(signal.SIGTERM)
    for stayer in stayers:
        stayer.time_limit = 2
        assert {await stayer.receive() for _ in leavers} == {*map(leave_client, leavers)}
    assert await heard(*stayers) == [[], []]
    for leaver in leavers:
        assert await leaver.closed() == 1001


async def test_a_server_is_replaced(start: Start, connect: Connect, room: str) -> None:
    """Whoever comes back on another server while its own stops finds everybody there."""
    stays, stops = start(2, lease=30)
    stayer, leaver = await members(connect, room, stays, stops)
    (new,) = start(1, lease=30)
    stops.send_signal(signal.SIGTERM)
    assert await leaver.closed() == 1001
    back = await connect(new, room)
    assert await stayer.receive() == leave_client(leaver)
    assert await stayer.receive() == new_client(back)
    assert await heard(stayer, back) == [[], []]
