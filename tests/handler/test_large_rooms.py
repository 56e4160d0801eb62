"""Joins and departures in large rooms happen one after another, and all members are told."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import cast

import pytest

from config.config import Config
from handler.handler import Handler
from handler.large_rooms import LARGE, LargeRooms
from tests.support.client import close_frame, text_frame
from tests.support.peer import Peer, leave_client, message, new_client, offer
from tests.support.server_process import TRANSPORTS, Transport
from tests.support.signaling import Served, served
from tests.support.waiting import until
from transport.protocol import LoopProtocol

on_both_transports = pytest.mark.parametrize("transport", TRANSPORTS)


# What waits


async def test_many_messages_are_sent_in_turn() -> None:
    """One step is taken in an iteration: the cheapest, and of equal ones that which came first."""
    rooms, taken = LargeRooms(), list[str]()
    for name, messages in {"c": 3000, "a": 1000, "b": 1000, "d": 9000}.items():
        rooms.call(LARGE + messages, lambda name=name: taken.append(name))  # type: ignore[misc]
    assert taken == []
    for number in range(1, 5):
        await asyncio.sleep(0)
        assert taken == list("abcd")[:number]


async def test_what_comes_later_may_be_cheaper() -> None:
    rooms, taken = LargeRooms(), list[int]()

    def call(messages: int) -> None:
        rooms.call(messages, lambda: taken.append(messages))

    call(3000)
    call(2000)
    await asyncio.sleep(0)
    call(1000)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert taken == [2000, 1000, 3000]


async def test_turns_are_awaited_in_the_same_order() -> None:
    """One that is not awaited any more holds up nothing."""
    rooms, taken = LargeRooms(), list[str]()

    async def take_turn(messages: int, name: str) -> None:
        await rooms.turn(LARGE + messages)
        taken.append(name)

    waiting = {"second": 3000, "given up": 1000, "first": 2000}
    tasks = {name: asyncio.create_task(take_turn(rank, name)) for name, rank in waiting.items()}
    await asyncio.sleep(0)
    tasks["given up"].cancel()
    await asyncio.wait(tasks.values())
    assert taken == ["first", "second"]


async def test_a_large_room_is_told_during_a_step_alone() -> None:
    rooms, told = LargeRooms(), list[bool]()
    rooms.call(LARGE + 1, lambda: told.append(rooms.is_told))
    assert not rooms.is_told
    await asyncio.sleep(0)
    assert told == [True]
    assert not rooms.is_told
    with rooms.telling():
        assert rooms.is_told
    assert not rooms.is_told


async def test_a_step_that_fails_is_the_only_one_that_does() -> None:
    """The event loop reports it, the next is taken, and what is sent after it is not for all."""
    rooms, taken, mistake = LargeRooms(), list[str](), RuntimeError("a mistake")
    reported: list[BaseException] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def fail() -> None:
        raise mistake

    rooms.call(LARGE + 1, fail)
    rooms.call(LARGE + 2, lambda: taken.append("next"))
    await asyncio.sleep(0)
    assert reported == [mistake]
    assert not rooms.is_told
    await asyncio.sleep(0)
    assert taken == ["next"]
    with pytest.raises(RuntimeError), rooms.telling():
        fail()
    assert not rooms.is_told


# With clients


def large_rooms(server: Served) -> LargeRooms:
    """Return what the handlers of the server share."""
    handler = server.connections.ever[-1]()
    assert isinstance(handler, Handler)
    return handler.large_rooms


@contextmanager
def held_up(rooms: LargeRooms) -> Iterator[Callable[[], int]]:
    """Let something else come before all that waits, and yield what tells how much that is."""
    held = True

    def again() -> None:
        if held:
            rooms.call(-1_000_000, again)  # However long the others wait, this was due before.

    again()
    yield lambda: len(rooms._waiting) - 1
    held = False


async def crowd(server: Served, number: int, room: str | None = None) -> list[Peer]:
    """Connect so many clients, and have them join the room if there is one."""
    asyncio.get_running_loop().set_debug(False)  # It would take ten times as long.
    peers = [await server.connect() for _ in range(number)]
    if room is not None:
        for peer in peers:
            await peer.join(room)
        for peer in peers:
            await peer.received()
    return peers


@on_both_transports
async def test_a_mass_join_tells_each_pair_once(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two clients, the one that came first is told of the other, and then gets its offer."""
    # So that offers come while connections still wait to write what they were told.
    monkeypatch.setattr("transport.writes.AT_ONCE", 1)
    async with served(Config(transport=transport)) as server:
        peers = await crowd(server, 2 * LARGE)
        for peer in peers:
            join = text_frame(message("join", room_id="r"))
            others = (other for other in peers if other is not peer)
            offers = (
                message("offer", client_id=other.id, sdp=f"to {other.id}") for other in others
            )
            peer.write(join + b"".join(map(text_frame, offers)))
            peer.in_room = True
        # When all have had an answer, all are in the room; then everything has been sent.
        received = {peer: await peer.received() for peer in peers}
        for peer in peers:
            received[peer] += await peer.received()

        for one, other in combinations(peers, 2):
            first, second = (one, other) if new_client(other) in received[one] else (other, one)
            assert received[first].count(new_client(second)) == 1
            assert received[second].count(new_client(first)) == 0
            told = received[first].index(new_client(second))
            assert told < received[first].index(offer(second, f"to {first.id}"))


@pytest.mark.parametrize("how", ["abort", "reset", "close"])
@on_both_transports
async def test_a_client_that_goes_while_its_join_waits(transport: Transport, how: str) -> None:
    """It is in no room, and whoever is told that it came is told that it went, too."""
    async with served(Config(transport=transport)) as server:
        members = await crowd(server, LARGE + 2, "r")
        newcomer = await server.connect()
        with held_up(large_rooms(server)) as waiting:
            await newcomer.say("join", room_id="r")
            await until(lambda: waiting() == 1)
            if how == "close":
                await newcomer.send(close_frame(1000))
            else:
                getattr(newcomer, how)()
        await until(lambda: len(server.connections) == len(members))
        await until(lambda: newcomer.id not in server.repo.get("r").clients)
        received = [await member.received() for member in members]
        assert received[0] in ([], [new_client(newcomer), leave_client(newcomer)])
        assert received == [received[0]] * len(members)


@pytest.mark.parametrize("how", ["abort", "reset", "half_close"])
async def test_the_room_of_a_client_that_goes_while_it_waits_is_told_at_once(how: str) -> None:
    """It is not told when it would have been the turn of the join."""
    async with served() as server:
        await crowd(server, LARGE + 2, "r")
        friend, mover = await server.members("former", 2)
        with held_up(large_rooms(server)) as waiting:
            await mover.say("join", room_id="r")
            await until(lambda: waiting() == 1)
            getattr(mover, how)()
            assert await friend.receive() == leave_client(mover)


async def test_a_client_may_go_as_soon_as_it_has_asked_to_join(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """That both come in one iteration of the event loop is no failure."""
    async with served() as server:
        await crowd(server, LARGE + 2, "r")
        peer = await server.connect()
        handler = server.connections.ever[-1]()
        assert isinstance(handler, Handler)
        connection = cast(LoopProtocol, handler.ws_connection)
        connection.data_received(text_frame(message("join", room_id="r")))
        connection.connection_lost(ConnectionResetError())
        assert connection._transport is not None
        connection._transport.abort()
        await until(lambda: len(server.connections) == LARGE + 2)
        assert peer.id not in server.repo.get("r").clients
    assert "failed" not in caplog.text


async def test_a_server_that_stops_waits_for_no_join() -> None:
    """The close of a client whose join waits is sent and answered at once."""
    async with served() as server:
        members = await crowd(server, LARGE + 2, "r")
        newcomer = await server.connect()
        with held_up(large_rooms(server)) as waiting:
            await newcomer.say("join", room_id="r")
            await until(lambda: waiting() == 1)
            stopping = asyncio.create_task(server.connections.close_all(1001, "stopping"))
            for peer in (*members, newcomer):
                assert await peer.rest() == ([], 1001)
                await peer.send(close_frame(1001))
            await stopping


@pytest.mark.parametrize("end", [Handler.drop, Handler.close])
@on_both_transports
async def test_a_client_that_is_closed_while_its_join_waits(
    transport: Transport, end: Callable[[Handler], None]
) -> None:
    """It never joins, so nobody is told of it."""
    async with served(Config(transport=transport)) as server:
        members = await crowd(server, LARGE + 2, "r")
        newcomer = await server.connect()
        handler = server.connections.ever[-1]()
        assert isinstance(handler, Handler)
        with held_up(handler.large_rooms) as waiting:
            await newcomer.say("join", room_id="r")
            await until(lambda: waiting() == 1)
            end(handler)
        newcomer.abort()
        await until(lambda: len(server.connections) == len(members))
        assert newcomer.id not in server.repo.get("r").clients
        assert [await member.received() for member in members] == [[]] * len(members)


@on_both_transports
async def test_departures_reach_all_who_stay(transport: Transport) -> None:
    """Each is told once, though the room is large when the first ones go and small in the end."""
    async with served(Config(transport=transport)) as server:
        peers = await crowd(server, 2 * LARGE, "r")
        staying, going = peers[: LARGE // 2], peers[LARGE // 2 :]
        for peer in going:
            peer.abort()
        await until(lambda: len(server.repo.get("r").clients) == len(staying))
        for peer in staying:
            assert sorted(await peer.received()) == sorted(map(leave_client, going))


@on_both_transports
async def test_what_a_member_says_before_it_leaves_comes_first(transport: Transport) -> None:
    """That the departure waits changes no order."""
    async with served(Config(transport=transport)) as server:
        peers = await crowd(server, LARGE + 3, "r")
        leaver, addressee = peers[0], peers[-1]
        with held_up(large_rooms(server)) as waiting:
            await leaver.say("offer", client_id=addressee.id, sdp="a last word")
            await leaver.send(close_frame(1000))
            await until(lambda: waiting() == 1)
            assert leaver.id in server.repo.get("r").clients
        assert await addressee.receive() == offer(leaver, "a last word")
        assert await addressee.receive() == leave_client(leaver)
