"""All connections together keep to a limit, and those that have most in memory go first."""

import asyncio
from collections.abc import Callable
from time import perf_counter

import pytest

from tests.support.client import TIME_LIMIT, Client, ClosedError, Opcode, frame, text_frame
from tests.support.waiting import until
from tests.transport.served import SMALL_BUFFER, Echo, Recorder, served
from transport import buffers as buffers_module
from transport.buffers import BEHIND, Buffers
from transport.frames import Close
from transport.protocol import LoopProtocol
from transport.turns import MAX_DEBT, Turns

LIMIT = 16_000


class Fake:
    """A connection with so many bytes in memory."""

    def __init__(self, buffers: Buffers, buffered: int) -> None:
        self.buffers = buffers
        self.buffered = buffered
        self.fate = ""
        buffers.count(self)

    def is_closing(self) -> bool:
        return self.fate != ""

    def refuse(self, code: int, reason: str) -> None:
        assert (code, reason) == BEHIND
        self.fate += "refused"

    def abort(self) -> None:
        self.fate += ", aborted"
        self.buffers.discard(self)


def fates(connections: list[Fake]) -> list[str]:
    return [connection.fate for connection in connections]


async def test_below_three_quarters_nobody_goes() -> None:
    buffers = Buffers(LIMIT)
    connections = [Fake(buffers, 1000) for _ in range(12)]
    await asyncio.sleep(0)
    assert fates(connections) == [""] * 12


async def test_those_that_have_most_go_until_there_is_room() -> None:
    """Then the others have no more than half of the limit. What goes still counts."""
    buffers = Buffers(LIMIT)
    connections = [Fake(buffers, size) for size in (3000, 5000, 1000, 4000)]
    assert fates(connections) == [""] * 4  # Nobody goes while somebody is in the midst of writing.
    await asyncio.sleep(0)
    assert fates(connections) == ["", "refused", "", ""]


async def test_others_have_their_turn_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers_module, "AT_ONCE", 0.0)
    buffers = Buffers(LIMIT)
    connections = [Fake(buffers, size) for size in (3000, 5000, 1000, 4000, 2500)]
    await asyncio.sleep(0)
    assert fates(connections) == ["", "refused", "", "", ""]
    await asyncio.sleep(0)
    assert fates(connections) == ["", "refused", "", "refused", ""]


async def test_those_that_go_are_aborted_at_the_limit() -> None:
    """No more of them than necessary: the others may still read why they go."""
    buffers = Buffers(LIMIT)
    connections = [Fake(buffers, size) for size in (5000, 4500, 4000)]
    await asyncio.sleep(0)
    assert fates(connections) == ["refused", "refused", ""]
    connections[2].buffered = 7000
    buffers.count(connections[2])
    await asyncio.sleep(0)
    assert fates(connections) == ["refused, aborted", "refused", ""]


async def test_what_has_gone_out_meanwhile_does_not_count() -> None:
    """Connections do not tell when they have less."""
    buffers = Buffers(LIMIT)
    connections = [Fake(buffers, 4000) for _ in range(3)]
    for connection in connections:
        connection.buffered = 0
    connections.append(Fake(buffers, 4000))
    await asyncio.sleep(0)
    assert fates(connections) == [""] * 4


async def test_who_drops_what_it_had_need_not_be_aborted() -> None:
    """A connection that is refused forgets what it has received."""

    class Receiving(Fake):
        def refuse(self, code: int, reason: str) -> None:
            super().refuse(code, reason)
            self.buffered = 0

    buffers = Buffers(LIMIT)
    connections: list[Fake] = [Receiving(buffers, 6000) for _ in range(4)]
    await asyncio.sleep(0)
    assert sorted(fates(connections)) == ["", "refused", "refused", "refused"]


async def test_all_are_looked_at_only_after_some_growth() -> None:
    """Otherwise each message would cost a look at all, once little room is left."""
    buffers = Buffers(LIMIT)
    connection = Fake(buffers, 11_900)
    Fake(buffers, 200).buffered = 0
    await asyncio.sleep(0)
    for size, fate in ((12_800, ""), (13_000, "refused")):
        connection.buffered = size
        buffers.count(connection)
        await asyncio.sleep(0)
        assert connection.fate == fate


# With connections


async def test_half_a_message_counts_until_it_is_whole() -> None:
    """Whether it is a frame in pieces or a message in fragments, with pings in between."""
    async with served(Recorder) as server:
        client = await server.connect()
        handler = await server.handler()
        connection = handler.ws_connection

        async def holds(number: int) -> None:
            await until(lambda: connection._parser.held == number)
            assert connection.buffered == number

        whole = text_frame("x" * 100)
        await client.send(whole[:50])
        await holds(50)
        await client.send(whole[50:] + frame(Opcode.TEXT, b"y" * 300, fin=False))
        await holds(300)
        await client.send(frame(Opcode.PING) + frame(Opcode.CONTINUATION, b"y" * 50, fin=False))
        await holds(350)
        await client.send(frame(Opcode.CONTINUATION, b"y") + b"\x81")
        await holds(1)
        await client.send(b"\x80\x00\x00\x00\x00")
        await holds(0)
        messages = [seen for seen in handler.seen if isinstance(seen, str)]
        assert messages == ["x" * 100, "y" * 351, ""]


async def test_who_has_most_half_received_is_closed() -> None:
    """It is told why. Others do not notice."""
    async with served(Echo, listener={"max_buffered": 110_000}) as server:
        clients = [await server.connect() for _ in range(4)]
        for client, size in zip(clients, (10_000, 20_000, 20_000, 40_000), strict=True):
            await client.send(frame(Opcode.TEXT, b"x" * size, fin=False))
        with pytest.raises(ClosedError) as closed:
            await clients[3].receive_text()
        assert (closed.value.code, closed.value.reason) == BEHIND
        for client in clients[:3]:
            await client.send(frame(Opcode.CONTINUATION))
            assert set(await client.receive_text()) == {"x"}


async def test_who_does_not_read_is_dropped() -> None:
    """What it has unsent never exceeds the limit, and nobody else goes."""
    async with served(Echo, listener={"max_buffered": 1_000_000}, buffer=SMALL_BUFFER) as server:
        reader, _ = await server.pair()
        laggard, handler = await server.pair(receive_buffer=SMALL_BUFFER)
        connection = handler.ws_connection
        laggard.stop_reading()
        while not handler.closed.is_set():
            connection.write_text(b"x" * 10_000)
            assert connection.unsent < 1_000_000
            await asyncio.sleep(0)
        await reader.send_text("still here")
        assert await reader.receive_text() == "still here"


async def refused(handler: Recorder, client: Client) -> LoopProtocol:
    """Refuse the connection, and wait until the peer has been told."""
    connection = handler.ws_connection
    assert isinstance(connection, LoopProtocol)
    connection.refuse(*BEHIND)
    with pytest.raises(ClosedError) as closed:
        await client.receive_text()
    assert (closed.value.code, closed.value.reason) == BEHIND
    return connection


async def sends_in_vain(client: Client, connection: LoopProtocol) -> None:
    """Send much, and check that it is read and nothing of it kept."""
    for _ in range(200):
        await client.send(frame(Opcode.TEXT, b"x" * 20_000) + frame(Opcode.PING) * 100)
        assert connection.buffered == 0


async def test_nothing_of_a_refused_peer_is_kept() -> None:
    """Neither what it had half received nor what it sends until it is gone, which is all read."""
    async with served(Recorder, buffer=SMALL_BUFFER) as server:
        client, handler = await server.pair()
        await client.send(frame(Opcode.TEXT, b"x" * 50_000, fin=False))
        await until(lambda: handler.ws_connection.buffered == 50_000)
        connection = await refused(handler, client)
        assert handler.closed.is_set()
        await sends_in_vain(client, connection)
        assert handler.seen == [Close(None, None)]


async def test_nothing_of_a_peer_that_is_refused_before_its_turn_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its turn may come all the same. Then nothing is handled of what had waited for it."""
    turns: list[Callable[[float], object]] = []
    monkeypatch.setattr(Turns, "wait", lambda self, account, size, take: turns.append(take))
    async with served(Recorder, buffer=SMALL_BUFFER) as server:
        client, handler = await server.pair()
        handler.ws_connection._turns.left = 0.0
        await client.send(text_frame("x" * 20_000) * 5)
        await until(lambda: len(turns) == 1)
        assert handler.ws_connection.buffered > 0
        monkeypatch.undo()
        connection = await refused(handler, client)
        assert connection.buffered == 0
        await sends_in_vain(client, connection)
        turns[0](perf_counter() + 1)
        await sends_in_vain(client, connection)
        assert handler.seen == [Close(None, None)]


async def test_what_is_discarded_is_read_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others come first, and the peer is served until it has read the close all the same."""
    waiting: list[tuple[float, Callable[[float], object]]] = []
    async with served(Recorder, buffer=SMALL_BUFFER) as server:
        client, handler = await server.pair()
        connection = await refused(handler, client)
        turns = connection._turns
        turns.left = 0.0
        monkeypatch.setattr(
            turns, "wait", lambda account, size, take: waiting.append((account, take))
        )
        await client.send(b"x" * 1000)
        await until(lambda: len(waiting) == 1)
        await client.send(b"x" * 200_000)
        await asyncio.sleep(0.05)
        assert len(waiting) == 1
        account, take = waiting[0]
        assert account == -MAX_DEBT
        take(0.0)
        await until(lambda: len(waiting) == 2)
        monkeypatch.undo()
        waiting[1][1](0.0)
        await sends_in_vain(client, connection)


async def test_who_is_refused_before_its_turn_need_not_end_its_stream_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That it had ended is not forgotten, so nobody waits for it."""
    monkeypatch.setattr(Turns, "wait", lambda self, account, size, take: None)
    async with served(Recorder, limits={"close_timeout": TIME_LIMIT}) as server:
        client, handler = await server.pair()
        handler.ws_connection._turns.left = 0.0
        await client.send(text_frame("x"))
        client.half_close()
        await until(lambda: handler.ws_connection._ended)
        await refused(handler, client)
        async with asyncio.timeout(TIME_LIMIT / 2):
            assert await client.end() == b""
        monkeypatch.undo()
