"""What joins cost: a client that causes too many messages with them waits for the next one."""

import asyncio

import pytest

from config.config import Config
from tests.support.client import text_frame
from tests.support.peer import Peer, leave_client, message, new_client, offer
from tests.support.server_process import TRANSPORTS, Transport
from tests.support.signaling import served

on_both_transports = pytest.mark.parametrize("transport", TRANSPORTS)

AT_ONCE = 20
PER_SECOND = 100

RESOLUTION = 0.002
"""Seconds by which a timer may come early."""


@pytest.fixture(autouse=True)
def _a_low_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.handler.NOTICES_AT_ONCE", AT_ONCE)
    monkeypatch.setattr("handler.handler.NOTICES_PER_SECOND", PER_SECOND)


def write_joins(peer: Peer, *rooms: str) -> None:
    """Send joins at once, without waiting for them."""
    peer.in_room = True
    peer.write(b"".join(text_frame(message("join", room_id=room)) for room in rooms))


@on_both_transports
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
async def test_beyond_the_burst_a_client_is_read_slower(
    transport: Transport, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it sends behind its joins comes later, in order and without an error."""
    if large:
        monkeypatch.setattr("handler.handler.LARGE", 1)
        monkeypatch.setattr("handler.large_rooms.LARGE", 1)
    loop = asyncio.get_running_loop()
    async with served(Config(transport=transport)) as server:
        first, other, joiner = await server.members("r", 3)
        start = loop.time()
        write_joins(joiner, *["r"] * 20)
        for number in range(10):
            await joiner.say("offer", client_id=other.id, sdp=str(number))
        offers = [offer(joiner, str(number)) for number in range(10)]
        expected = [new_client(joiner)] * 20 + offers
        assert [await other.receive() for _ in expected] == expected
        # Each join was told to two, and the last one waited for those before it.
        assert loop.time() - start >= (19 * 2 - AT_ONCE) / PER_SECOND - RESOLUTION
        assert await first.received() == [new_client(joiner)] * 20
        assert await joiner.received() == []


@on_both_transports
async def test_leaving_a_room_by_a_join_counts_too(transport: Transport) -> None:
    """Those of the room that is left are told as well as those of the one that is joined."""
    loop = asyncio.get_running_loop()
    async with served(Config(transport=transport)) as server:
        for room in ("r", "s"):
            await server.members(room, 2)
        (joiner,) = await server.members("t", 1)
        start = loop.time()
        write_joins(joiner, *["r", "s"] * 6)
        assert await joiner.received() == []
        # Of those for which the last one waited, the first was told to two, each other one to four.
        assert loop.time() - start >= (2 + 10 * 4 - AT_ONCE) / PER_SECOND - RESOLUTION


@on_both_transports
async def test_others_do_not_wait_for_a_client_that_is_read_slower(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are served meanwhile, and it still receives what they send."""
    monkeypatch.setattr("handler.handler.NOTICES_PER_SECOND", 10)
    loop = asyncio.get_running_loop()
    async with served(Config(transport=transport)) as server:
        first, second, joiner = await server.members("r", 3)
        start = loop.time()
        write_joins(joiner, *["r"] * 20)
        waiting = asyncio.create_task(joiner.received())
        for number in range(10):
            await first.say("offer", client_id=second.id, sdp=str(number))
            await second.say("offer", client_id=joiner.id, sdp=str(number))
        while offer(first, "9") != await second.receive():
            pass
        assert not waiting.done()
        assert await waiting == [offer(second, str(number)) for number in range(10)]
        assert loop.time() - start >= (19 * 2 - AT_ONCE) / 10 - RESOLUTION


@on_both_transports
async def test_no_more_than_the_burst_is_saved_up(transport: Transport) -> None:
    """However long a client has caused nothing, it waits when it causes twice as much."""
    loop = asyncio.get_running_loop()
    async with served(Config(transport=transport)) as server:
        _, joiner = await server.members("r", 2)
        for _ in range(2):
            start = loop.time()
            write_joins(joiner, *["r"] * (2 * AT_ONCE + 1))
            assert await joiner.received() == []
            assert loop.time() - start >= AT_ONCE / PER_SECOND - RESOLUTION
            await asyncio.sleep(2 * AT_ONCE / PER_SECOND)  # So that twice as much would be free.


@on_both_transports
async def test_a_room_of_ten_never_waits(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may join it fifty times at once. Beyond the burst it would wait for very long."""
    monkeypatch.undo()
    monkeypatch.setattr("handler.handler.NOTICES_PER_SECOND", 4)
    async with served(Config(transport=transport)) as server:
        *others, joiner = await server.members("r", 10)
        write_joins(joiner, *["r"] * 50)
        assert await joiner.received() == []
        for other in others:
            assert await other.received() == [new_client(joiner)] * 50


async def test_a_client_in_debt_that_goes_is_missed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only its next join waits, so nothing hides its departure, nor what it says before."""
    monkeypatch.setattr("handler.handler.NOTICES_PER_SECOND", 0.01)
    async with served() as server:
        other, joiner = await server.members("r", 2)
        for _ in range(2 * AT_ONCE):
            if not await other.received():
                break
            await joiner.join("r")
        await joiner.say("offer", client_id=other.id, sdp="x")
        assert await other.receive() == offer(joiner, "x")
        joiner.half_close()
        assert await other.receive() == leave_client(joiner)
