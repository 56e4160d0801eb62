"""Ids, joins and leaves."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from statistics import median

import pytest

from tests.conformance.conftest import Connect, Members
from tests.support.client import MASK, Client, Opcode, head
from tests.support.peer import (
    INVALID_PAYLOAD,
    Peer,
    answer,
    failed,
    leave_client,
    new_client,
    notify_client_id,
    offer,
)

TRIALS = 5

# These names are different, although some look alike or would be equal after normalisation.
NAMES = ["a", "A", "a ", " a", "a\u0000", "\u00e9", "e\u0301", "\u212b", "\u00c5", "\uff41"]


async def test_first_message(url: str) -> None:
    """The first message on a connection tells the client its id."""
    client = await Client.connect(url)
    text = await client.receive_text()
    found = re.fullmatch(r'\{"type":"notify-client-id","payload":\{"client_id":"(.*)"\}\}', text)
    assert found and text == notify_client_id(found[1])
    client.abort()


@pytest.mark.alone("of the ids of one second, those of each process sort by themselves")
async def test_ids(connect: Connect) -> None:
    """Ids are 20 characters from `0` to `9` and `a` to `v`, differ, and sort by time."""
    ids = [(await connect()).id for _ in range(20)]
    assert all(re.fullmatch("[0-9a-v]{20}", text) for text in ids)
    assert len(set(ids)) == 20
    assert ids == sorted(ids)


async def test_join(connect: Connect, room: str) -> None:
    """Each member gets one `new-client` for a newcomer; the newcomer is told nothing."""
    first, second, third = [await connect() for _ in range(3)]
    await first.join(room)
    await second.join(room)
    assert await first.received() == [new_client(second)]
    await third.join(room)
    assert await first.received() == [new_client(third)]
    assert await second.received() == [new_client(third)]


async def test_rejoin(members: Members, room: str) -> None:
    """A member that joins its room again is announced to the others again, every time."""
    first, second, third = await members(room, 3)
    for _ in range(3):
        await first.join(room)
        assert await second.received() == [new_client(first)]
        assert await third.received() == [new_client(first)]


async def test_rooms_are_apart(members: Members, room: str) -> None:
    """What happens in one room is not heard in another."""
    first, second = await members(f"{room}-1")
    others = await members(f"{room}-2")
    await first.say("offer", client_id=second.id, sdp="x")
    assert await first.received() == []  # Now the offer has been passed on.
    assert await second.receive() == offer(first, "x")
    assert await second.received() == []
    for other in others:
        assert await other.received() == []


async def test_clients_without_a_room(members: Members, connect: Connect, room: str) -> None:
    """A client that has joined no room hears of none."""
    outsider = await connect()
    await members(room)
    assert await outsider.received() == []


async def test_room_names_are_code_points(connect: Connect, room: str) -> None:
    """Room names are compared by their exact code points."""
    peers = [await connect() for _ in NAMES]
    for peer, name in zip(peers, NAMES, strict=True):
        await peer.join(room + name)
    for peer in peers:
        assert await peer.received() == []


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("\u00e9/", r"\u00e9\/"),
        ("\U0001f600", r"\ud83d\ude00"),
        ("\ufffd", r"\ud83d"),
        ("<&>", r"\u003c\u0026\u003E"),
    ],
)
async def test_escaped_room_name(
    members: Members, connect: Connect, room: str, name: str, escaped: str
) -> None:
    """An escape in a room name stands for its character; half a surrogate pair is U+FFFD."""
    (member,) = await members(room + name, 1)
    newcomer = await connect()
    await newcomer.send_text('{"type":"join","payload":{"room_id":"%s"}}' % (room + escaped))
    assert await member.receive() == new_client(newcomer)


async def test_empty_room_name(connect: Connect) -> None:
    """The empty string is a room like any other."""
    first, second = await connect(), await connect()
    await first.join("")
    await second.join("")
    assert await first.receive() == new_client(second)


@pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f600"], ids=["1", "2", "4-bytes"])
async def test_long_room_name(members: Members, room: str, character: str) -> None:
    """A room name may have 255 characters, however many bytes each takes."""
    await members(room.ljust(255, character))


@pytest.mark.differ
@pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f600"], ids=["1", "2", "4-bytes"])
async def test_room_name_too_long(members: Members, room: str, character: str) -> None:
    """A room name of 256 characters is an invalid payload, and the client stays where it is."""
    first, second = await members(room)
    await first.say("join", room_id=room.ljust(256, character))
    assert await first.received() == [INVALID_PAYLOAD]
    assert await second.received() == []
    await second.say("offer", client_id=first.id, sdp="still here")
    assert await first.receive() == offer(second, "still here")


@pytest.mark.differ
async def test_join_another_room(members: Members, room: str) -> None:
    """A client that joins another room leaves the first: `leave-client` there, then the join."""
    mover, first, stranger = *await members(f"{room}-1"), (await members(f"{room}-2", 1))[0]
    await mover.join(f"{room}-2")
    assert await first.received() == [leave_client(mover)]
    assert await stranger.received() == [new_client(mover)]
    await mover.say("offer", client_id=first.id, sdp="x")
    await mover.say("answer", client_id=stranger.id, sdp="y")
    assert await mover.received() == [failed("offer")]
    assert await first.received() == []
    assert await stranger.receive() == answer(mover, "y")
    assert await stranger.received() == []


@pytest.mark.differ
async def test_move_back_and_leave(members: Members, room: str) -> None:
    """Each room that a client moves through is told each time, and only the last one of its end."""
    mover, first, second = *await members(f"{room}-1"), (await members(f"{room}-2", 1))[0]
    await mover.join(f"{room}-2")
    await mover.join(f"{room}-1")
    await mover.join(f"{room}-2")
    await mover.close()
    assert await second.receive() == new_client(mover)
    assert await second.receive() == leave_client(mover)
    assert await second.receive() == new_client(mover)
    assert await second.receive() == leave_client(mover)
    assert await second.received() == []
    assert await first.received() == [leave_client(mover), new_client(mover), leave_client(mover)]


async def close(peer: Peer) -> None:
    assert await peer.close(1001) == 1001


async def reset(peer: Peer) -> None:
    peer.reset()


async def disconnect(peer: Peer) -> None:
    peer.abort()


async def half_close(peer: Peer) -> None:
    peer.half_close()


async def reset_within_a_message(peer: Peer) -> None:
    await peer.send(head(Opcode.TEXT, 1000, mask=MASK) + b"not all of it")
    peer.reset()


@pytest.mark.differ
@pytest.mark.parametrize("end", [close, reset, disconnect, half_close, reset_within_a_message])
async def test_leave_at_once(
    members: Members, connect: Connect, room: str, end: Callable[[Peer], Awaitable[None]]
) -> None:
    """The others get one `leave-client` within 0.2 s, however a connection ends."""
    loop = asyncio.get_running_loop()
    stayers = await members(room)
    times: list[float] = []
    for _ in range(TRIALS):
        leaver = await connect()
        await leaver.join(room)
        for peer in stayers:
            assert await peer.receive() == new_client(leaver)
        start = loop.time()
        await end(leaver)
        for peer in stayers:
            assert await peer.receive() == leave_client(leaver)
        times.append(loop.time() - start)
    for peer in stayers:
        assert await peer.received() == []
    # A busy machine may hold up one of them.
    assert median(times) < 0.2


@pytest.mark.differ
async def test_room_ends_with_its_last_member(members: Members, room: str) -> None:
    """Nothing of a room is left after its last member has gone: the next to join is alone."""
    for _ in range(3):
        first, second = await members(room)
        await first.close()
        assert await second.receive() == leave_client(first)
        await second.close()


async def join_at_once(peers: list[Peer], room: str) -> list[list[str]]:
    """Let all join the room at once; return what each has received when all are in."""
    await asyncio.gather(*(peer.say("join", room_id=room) for peer in peers))
    for peer in peers:
        peer.in_room = True
    early = await asyncio.gather(*(peer.received() for peer in peers))
    # All are in now, so nothing more is to come.
    late = await asyncio.gather(*(peer.received() for peer in peers))
    return [before + after for before, after in zip(early, late, strict=True)]


@pytest.mark.differ
async def test_two_join_a_new_room_at_once(connect: Connect, room: str) -> None:
    """Of two clients that join a new room at once, exactly one gets `new-client`: the first."""
    first, second = await connect(), await connect()
    for number in range(50):
        peers = [first, second] if number % 2 else [second, first]
        received = await join_at_once(peers, f"{room}-{number}")
        joins = [text for texts in received for text in texts if "new-client" in text]
        assert joins in ([new_client(first)], [new_client(second)])
        told = received[0] if joins == [new_client(peers[1])] else received[1]
        assert joins[0] in told


@pytest.mark.differ
async def test_many_join_a_new_room_at_once(connect: Connect, room: str) -> None:
    """Of 50 that join a new room at once, exactly one of each pair is told of the other."""
    peers = [await connect() for _ in range(50)]
    ids = {new_client(peer): peer.id for peer in peers}
    received = await join_at_once(peers, room)
    told = Counter(
        frozenset((peer.id, ids[text]))
        for peer, texts in zip(peers, received, strict=True)
        for text in texts
    )
    assert len(told) == 50 * 49 // 2
    assert set(told.values()) == {1}
