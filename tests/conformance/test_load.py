"""Under load, nothing is lost, no client suffers for another, and the server stays up."""

import asyncio
from collections import defaultdict

import pytest

from tests.conformance.conftest import Connect, Members
from tests.support.client import Opcode, close_frame, frame, text_frame
from tests.support.peer import (
    Peer,
    answer,
    failed,
    ice_candidate,
    leave_client,
    message,
    new_client,
    offer,
)

pytestmark = pytest.mark.differ

MIB = 1 << 20
LIMIT = 4 * MIB
CHUNK = "x" * (1 << 16)

# A kernel holds some megabytes at either end of a connection; how many is its own choice.
FAR_BEHIND = 64 * MIB


@pytest.mark.parametrize("size", [1, 2500])
async def test_burst(members: Members, room: str, size: int) -> None:
    """All of 1,000 offers that are sent at once arrive, in order."""
    first, second = await members(room)
    sdps = [f"{number}:".ljust(size, "x") for number in range(1000)]
    offers = [text_frame(message("offer", client_id=second.id, sdp=sdp)) for sdp in sdps]
    first.write(b"".join(offers))
    for sdp in sdps:
        assert await second.receive() == offer(first, sdp)


async def test_burst_to_a_slow_reader(members: Members, connect: Connect, room: str) -> None:
    """The server waits for a client with up to 4 MiB to read, which gets all of it, in order."""
    (first,) = await members(room, 1)
    slow = await connect(receive_buffer=4096)
    await slow.join(room)
    assert await first.receive() == new_client(slow)
    slow.stop_reading()
    count = LIMIT // len(CHUNK) - 1
    for number in range(count):
        await first.say("offer", client_id=slow.id, sdp=f"{number}:{CHUNK[:-200]}")
    assert await first.received() == []
    slow.resume_reading()
    for number in range(count):
        assert await slow.receive() == offer(first, f"{number}:{CHUNK[:-200]}")
    assert await slow.received() == []


async def test_client_that_stops_reading(members: Members, connect: Connect, room: str) -> None:
    """A client with more than 4 MiB to read gets what is under way, then 1013; its room is told."""
    sender, member = await members(room)
    others = await members(f"{room}-other")
    stalled = await connect(receive_buffer=4096)
    await stalled.join(room)
    for peer in (sender, member):
        assert await peer.receive() == new_client(stalled)
    stalled.stop_reading()

    sent = 0
    received: list[str] = []
    while not received:
        assert sent * len(CHUNK) < FAR_BEHIND
        for _ in range(8):
            await sender.say("offer", client_id=stalled.id, sdp=f"{sent}:{CHUNK}")
            sent += 1
        received = await sender.received()
        await others[0].say("offer", client_id=others[1].id, sdp="not affected")
        assert await others[1].receive() == offer(others[0], "not affected")
    assert received[0] == leave_client(stalled)
    assert set(received[1:]) <= {failed("offer")}
    assert await member.received() == [leave_client(stalled)]

    stalled.resume_reading()
    backlog, code = await stalled.rest()
    assert code == 1013
    assert len(backlog) * len(CHUNK) > LIMIT - 2 * len(CHUNK)
    assert backlog == [offer(sender, f"{number}:{CHUNK}") for number in range(len(backlog))]
    await sender.say("answer", client_id=member.id, sdp="still here")
    assert await member.receive() == answer(sender, "still here")


def introduction(member: Peer, newcomer: Peer) -> list[str]:
    """Return what a member sends to a newcomer, as it arrives: an offer and ten candidates."""
    candidates = [ice_candidate(member, f"{member.id}-{number}") for number in range(10)]
    return [offer(member, f"to {newcomer.id}"), *candidates]


async def introduce(member: Peer, newcomer: Peer) -> None:
    """Wait for the newcomer to be announced, then send it everything at once."""
    assert await member.receive() == new_client(newcomer)
    texts = [message("offer", client_id=newcomer.id, sdp=f"to {newcomer.id}")]
    for number in range(10):
        candidate = f"{member.id}-{number}"
        texts.append(message("ice-candidate", client_id=newcomer.id, candidate=candidate))
    await member.send(b"".join(map(text_frame, texts)))


async def test_mesh(connect: Connect, room: str) -> None:
    """In a mesh that grows to 41, each newcomer gets 11 messages from each member, in order."""
    peers: list[Peer] = []
    for count in range(41):
        newcomer = await connect()
        await newcomer.join(room)
        await asyncio.gather(*(introduce(peer, newcomer) for peer in peers))
        arrived: defaultdict[str, list[str]] = defaultdict(list)
        for _ in range(11 * count):
            text = await newcomer.receive()
            (sender,) = [peer.id for peer in peers if f'"client_id":"{peer.id}"' in text]
            arrived[sender].append(text)
        assert dict(arrived) == {peer.id: introduction(peer, newcomer) for peer in peers}
        peers.append(newcomer)
    for peer in peers:
        assert await peer.received() == []


GARBAGE = [
    text_frame("{"),
    text_frame('{"type":"join"}'),
    text_frame('{"type":"offer","payload":{"client_id":"nobody","sdp":"x"}}'),
    frame(Opcode.BINARY, b"[" * 1000),
    frame(Opcode.PING, b"x"),
]


async def visit(url: str, room: str, number: int, others: list[Peer]) -> None:
    """Join a room, send to oneself, to others, gone or not, and nonsense; leave in some way."""
    peer = await Peer.connect(url)
    others.append(peer)
    await peer.say("join", room_id=room)
    await peer.say("offer", client_id=peer.id, sdp="here")
    while await peer.receive() != offer(peer, "here"):
        pass
    for other in others[-10:]:
        await peer.say("offer", client_id=other.id, sdp="x" * 500)
    await peer.send(GARBAGE[number % len(GARBAGE)])
    if number % 3 == 0:
        peer.reset()
    elif number % 3 == 1:
        await peer.send(close_frame(1000))
    peer.abort()


async def test_churn(url: str, members: Members, connect: Connect, room: str) -> None:
    """When 200 clients join and leave a room 10 times at once, each is announced both times."""
    # With debug mode the clients, which are all in this process, would take most of the time.
    asyncio.get_running_loop().set_debug(False)
    (witness,) = await members(room, 1)
    bystanders = await members(f"{room}-other")
    visitors: list[Peer] = []

    seen: list[str] = []

    async def visits(number: int) -> None:
        for turn in range(10):
            await visit(url, room, number + turn, visitors)

    async def watch() -> None:
        while len(seen) < 2 * 200 * 10:
            seen.append(await witness.receive())

    await asyncio.gather(watch(), *(visits(number) for number in range(200)))
    places = {text: place for place, text in enumerate(seen)}
    assert len(visitors) == 200 * 10 and len(places) == len(seen)
    for visitor in visitors:
        assert places[new_client(visitor)] < places[leave_client(visitor)]
    assert await witness.received() == []
    for peer in bystanders:
        assert await peer.received() == []
    caller, callee = await members(f"{room}-fresh")
    await caller.say("offer", client_id=callee.id, sdp="x")
    assert await callee.receive() == offer(caller, "x")
    newcomer = await connect()
    await newcomer.join(room)
    assert await witness.received() == [new_client(newcomer)]
