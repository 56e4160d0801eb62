"""A connection over a real socket: what its peer receives and what its handler is told."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable
from contextlib import suppress
from time import perf_counter, sleep
from typing import Any

import pytest
from tornado.gen import BadYieldError
from tornado.websocket import WebSocketClosedError

from tests.support.client import (
    ABNORMAL,
    ACCEPT,
    NO_STATUS,
    Client,
    ClosedError,
    Frame,
    HandshakeError,
    Opcode,
    close_frame,
    frame,
    text_frame,
)
from tests.support.waiting import until
from tests.transport.served import (
    SMALL_BUFFER,
    Busy,
    Echo,
    Recorder,
    Served,
    answered,
    served,
)
from transport.frames import Close, Ping, Pong
from transport.protocol import LoopProtocol

MUCH = 2 * 1024 * 1024
"""More bytes than the kernel takes with `SMALL_BUFFER`."""


async def receive_close(client: Client) -> tuple[int, str]:
    """Return the code and reason of the close, which must be the next frame; do not answer it."""
    closing = await client.receive_frame()
    assert closing.opcode is Opcode.CLOSE
    return int.from_bytes(closing.payload[:2]), closing.payload[2:].decode()


async def works(server: Served) -> None:
    """Check that another peer is served, whatever has become of the first one."""
    client = await server.connect()
    await client.send(frame(Opcode.PING, b"works"))
    assert (await client.receive_frame()).payload == b"works"


# Reading


async def test_messages_keep_their_type() -> None:
    async with served() as server:
        client = await server.connect()
        await client.send(text_frame("žluť") + frame(Opcode.BINARY, b"\xff") + text_frame(""))
        assert await client.receive_frame() == Frame(Opcode.TEXT, "žluť".encode(), True)
        assert await client.receive_frame() == Frame(Opcode.BINARY, b"\xff", True)
        assert await client.receive_frame() == Frame(Opcode.TEXT, b"", True)
        handler = await server.handler()
        assert isinstance(handler.ws_connection, LoopProtocol)


async def test_pings_are_answered_between_the_fragments_of_a_message() -> None:
    """They are answered at once, with their payload (RFC 6455, section 5.5.3); pongs are not."""
    async with served() as server:
        client = await server.connect()
        await client.send(frame(Opcode.TEXT, b"a", fin=False) + frame(Opcode.PING, b"first"))
        assert await client.receive_frame() == Frame(Opcode.PONG, b"first", True)
        await client.send(frame(Opcode.CONTINUATION, b"b", fin=False))
        await client.send(frame(Opcode.PONG, b"second") + frame(Opcode.PING, b"x" * 125))
        assert await client.receive_frame() == Frame(Opcode.PONG, b"x" * 125, True)
        await client.send(frame(Opcode.CONTINUATION, b"c"))
        assert await client.receive_text() == "abc"
        handler = await server.handler()
        assert handler.seen == [Ping(b"first"), Pong(b"second"), Ping(b"x" * 125), "abc"]


async def test_a_large_message_comes_in_many_pieces() -> None:
    async with served(websocket_max_message_size=1 << 22) as server:
        client = await server.connect()
        payload = os.urandom(1 << 22)
        client.write(frame(Opcode.BINARY, payload))
        assert await client.receive_frame() == Frame(Opcode.BINARY, payload, True)


async def test_frames_may_come_with_the_handshake() -> None:
    async with served() as server:
        client = await server.connect(pipelined=text_frame("early") + frame(Opcode.PING, b"1"))
        assert await client.receive_text() == "early"
        assert (await client.receive_frame()).opcode is Opcode.PONG
        assert await client.close(1000) == 1000
        await (await server.handler()).is_closed()


async def test_a_close_may_come_with_the_handshake() -> None:
    async with served() as server:
        client = await server.connect(pipelined=close_frame(1001, "no time"))
        assert await client.closed() == 1001
        handler = await server.handler()
        await handler.is_closed()
        assert handler.seen == [Close(1001, "no time")]


class CountsPongs(Recorder):
    most_unsent = 0

    def on_ping(self, data: bytes) -> None:
        super().on_ping(data)
        assert self.ws_connection is not None
        self.most_unsent = max(self.most_unsent, self.ws_connection.unsent)  # type: ignore[attr-defined]


async def test_pongs_do_not_pile_up_for_a_peer_that_does_not_read() -> None:
    """Only the last one is kept, and it arrives when the peer reads again."""
    number = 20_000
    async with served(CountsPongs, buffer=SMALL_BUFFER) as server:
        client = await server.connect(receive_buffer=SMALL_BUFFER)
        handler = await server.handler()
        client.stop_reading()
        for first in range(0, number, 1000):
            pings = (b"%0125d" % count for count in range(first, first + 1000))
            await client.send(b"".join(frame(Opcode.PING, data) for data in pings))
        await until(lambda: len(handler.seen) == number)
        assert 0 < handler.most_unsent < 2 * 65536
        client.resume_reading()
        last = -1
        received = 0
        while last < number - 1:
            pong = await client.receive_frame()
            assert pong.opcode is Opcode.PONG
            assert int(pong.payload) > last
            last = int(pong.payload)
            received += 1
        assert received < number
        await client.send(frame(Opcode.PING, b"and now each again"))
        assert (await client.receive_frame()).payload == b"and now each again"


def only_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let peers do nothing but in turns, one step each."""
    monkeypatch.setattr("transport.protocol.BURST", 0.0)
    for name in ("TURN", "QUANTUM", "LONG_QUANTUM"):
        monkeypatch.setattr(f"transport.turns.{name}", 0.0)


class Slow(Recorder):
    """Takes 50 µs for a message."""

    order: list[str | bytes]

    def on_message(self, message: str | bytes) -> None:
        self.order.append(message)
        end = perf_counter() + 0.00005
        while perf_counter() < end:
            pass


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str | bytes]:
    """Return the messages to `Slow`, in the order in which they are handled."""
    order: list[str | bytes] = []
    monkeypatch.setattr(Slow, "order", order, raising=False)
    return order


async def test_one_peer_does_not_keep_the_others_waiting(order: list[str | bytes]) -> None:
    """It has its share of the time and then takes turns. The order of its messages is kept."""
    async with served(Slow) as server:
        many, one = await server.connect(), await server.connect()
        many.write(b"".join(text_frame(str(count)) for count in range(5000)))
        one.write(text_frame("one"))
        await until(lambda: len(order) == 5001)
        assert order.index("one") < 2500
        order.remove("one")
        assert order == [str(count) for count in range(5000)]


async def test_a_peer_that_is_lost_waits_for_no_turn(
    order: list[str | bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler is told though no turn comes, and what the peer had still to say is not heard."""
    monkeypatch.setattr("transport.turns.Turns.wait", lambda *_: None)
    # On a busy machine there may be no time left for what is done once, and that would wait too.
    monkeypatch.setattr("transport.turns.Turns.once", lambda _, step: step())
    async with served(Slow) as server:
        client = await server.connect()
        handler = await server.handler()
        # So few that what waits is not enough for the server to stop reading.
        client.write(b"".join(text_frame(str(count)) for count in range(800)))
        await until(lambda: handler.ws_connection._awaits_turn)
        client.reset()
        await handler.is_closed()
        assert len(order) < 800


async def test_many_peers_together_do_not_keep_another_waiting(order: list[str | bytes]) -> None:
    """They share a turn, and the other is served whenever its messages come."""
    async with served(Slow) as server:
        crowd = [await server.connect() for _ in range(20)]
        one = await server.connect()
        for number, each in enumerate(crowd):
            each.write(b"".join(text_frame(f"{number} {count}") for count in range(500)))
        await until(lambda: len(order) > 1500)  # Everyone has used more than its share.
        for count in range(5):
            before = len(order)
            await one.send(text_frame(f"one {count}"))
            await until(lambda count=count: f"one {count}" in order)  # type: ignore[misc]
            # Of a turn in progress, one more, and what the test itself takes.
            assert order.index(f"one {count}") - before < 1000
        await until(lambda: len(order) == 20 * 500 + 5)
        for number in range(20):
            mine = [text for text in order if str(text).startswith(f"{number} ")]
            assert mine == [f"{number} {count}" for count in range(500)]


# Handlers that are coroutines


async def test_the_next_message_waits_for_the_handler_of_the_last() -> None:
    """This also holds for what came in the same piece, including pings and the close."""
    async with served(Busy) as server:
        client = await server.connect()
        handler = await server.handler()
        await client.send(text_frame("1") + text_frame("2") + frame(Opcode.PING, b"3"))
        await client.send(text_frame("4") + close_frame(1000, "5"))
        await until(lambda: bool(handler.seen))
        await works(server)
        assert handler.seen == ["begin '1'"]
        handler.go.set()
        await handler.is_closed()
        in_order = ["begin '1'", "end '1'", "begin '2'", "end '2'", Ping(b"3")]
        assert handler.seen == [*in_order, "begin '4'", "end '4'", Close(1000, "5")]
        assert (await client.receive_frame()).payload == b"3"


async def test_a_busy_handler_stops_the_peer() -> None:
    """The handler's peer is not read meanwhile, so that what it sends stays on its own side."""
    message = "x" * 65000
    async with served(Busy, buffer=SMALL_BUFFER) as server:
        client = await server.connect()
        handler = await server.handler()
        client.write(b"".join(text_frame(f"{count} {message}") for count in range(200)))
        await until(lambda: bool(handler.seen))
        for _ in range(20):
            await works(server)
        assert client.writer.transport.get_write_buffer_size() > 4_000_000
        assert len(handler.seen) == 1
        handler.go.set()
        await client.writer.drain()
        await until(lambda: len(handler.seen) == 400)
        seen = [entry.partition("'")[2].partition(" ")[0] for entry in handler.seen]
        assert seen == [str(count) for count in range(200) for _ in range(2)]


async def test_the_end_waits_for_the_handler() -> None:
    """The handler is told that the connection is lost after it has handled the message."""
    async with served(Busy) as server:
        client = await server.connect()
        handler = await server.handler()
        await client.send(text_frame("1") + text_frame("2"))
        await until(lambda: bool(handler.seen))
        connection = handler.ws_connection
        client.reset()
        # Nothing is read, so the reset is noticed when something is written.
        while not connection.is_closing():
            connection.write_text(b"anybody?")
            await asyncio.sleep(0)
        with pytest.raises(WebSocketClosedError):
            handler.write_message("nobody")
        await works(server)
        assert not handler.closed.is_set()
        handler.go.set()
        await handler.is_closed()
        assert handler.seen == ["begin '1'", "end '1'", Close(None, None)]


class SlowOpen(Echo):
    async def open(self) -> None:
        self.go = asyncio.Event()
        super().open()
        self.seen.append("opening")
        await self.go.wait()
        self.seen.append("open")


@pytest.mark.parametrize("with_handshake", [True, False])
async def test_messages_wait_for_open(with_handshake: bool) -> None:
    async with served(SlowOpen) as server:
        sent = text_frame("early") + frame(Opcode.PING)
        client = await server.connect(pipelined=sent if with_handshake else b"")
        handler = await server.handler()
        if not with_handshake:
            await client.send(sent)
        await handler.write_message("from open")
        assert await client.receive_text() == "from open"
        await works_beside(server)
        assert handler.seen == ["opening"]
        handler.go.set()
        assert await client.receive_text() == "early"
        assert handler.seen[:3] == ["opening", "open", "early"]


async def works_beside(server: Served) -> None:
    """Do as `works`, where `open` itself waits."""
    connection = await server.open()
    await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await connection.reader.readline() == b"HTTP/1.1 200 OK\r\n"


# The end


@pytest.mark.parametrize("in_turns", [False, True])
@pytest.mark.parametrize("handler_class", [Recorder, Busy])
async def test_what_was_sent_before_a_half_close_is_handled(
    handler_class: type[Recorder], in_turns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds however many turns it takes. Then the handler is told of the end."""
    if in_turns:
        only_turns(monkeypatch)
    async with served(handler_class) as server:
        client = await server.connect()
        handler = await server.handler()
        client.write(b"".join(text_frame(str(count)) for count in range(100)))
        client.half_close()
        if isinstance(handler, Busy):
            await until(lambda: bool(handler.seen))
            handler.go.set()
        await handler.is_closed()
        messages = [entry for entry in handler.seen if "begin" not in str(entry)]
        assert len(messages) == 101
        assert "99" in str(messages[99])
        assert messages[100] == Close(None, None)
        assert await client.end() == b""


async def test_what_was_written_before_a_half_close_is_sent() -> None:
    async with served(buffer=SMALL_BUFFER) as server:
        client = await server.connect(receive_buffer=SMALL_BUFFER)
        handler = await server.handler()
        client.stop_reading()
        await handler_writes_much(handler)
        client.half_close()
        await handler.is_closed()
        with pytest.raises(WebSocketClosedError):
            handler.write_message("too late")
        client.resume_reading()
        assert len((await client.receive_frame()).payload) == MUCH
        assert await client.end() == b""


async def handler_writes_much(handler: Recorder) -> asyncio.Future[None]:
    written = handler.write_message(b"x" * MUCH, binary=True)
    await asyncio.sleep(0)
    return written


async def test_a_reset_is_told_of() -> None:
    async with served() as server:
        client = await server.connect()
        handler = await server.handler()
        await client.send_text("1")
        assert await client.receive_text() == "1"
        client.reset()
        await handler.is_closed()
        assert handler.seen == ["1", Close(None, None)]
        assert handler.ws_connection is None


async def test_who_is_not_opened_is_not_closed() -> None:
    """This holds for a handshake that is refused, and for a peer that is gone before `open`."""
    calls = []

    class Refusing(Recorder):
        def on_close(self) -> None:
            calls.append("on_close")

        async def prepare(self) -> None:
            if self.request.headers.get("X-Wait"):
                calls.append("prepare")
                self.close()
                self.set_status(400)
                self.finish()

    async with served(Refusing) as server:
        for headers in ({"Origin": "http://refused"}, {"X-Wait": "1"}):
            with pytest.raises(HandshakeError):
                await server.connect(headers=headers)
        assert calls == ["prepare"]


async def test_the_close_of_the_peer_is_answered_with_its_code() -> None:
    """Its code and reason are the handler's `close_code` and `close_reason`."""
    async with served() as server:
        client = await server.connect()
        handler = await server.handler()
        assert await client.close(3000, "dôvod") == 3000
        await handler.is_closed()
        assert (handler.close_code, handler.close_reason) == (3000, "dôvod")
        with pytest.raises(WebSocketClosedError):
            handler.write_message("too late")


async def test_a_close_without_code_is_answered_without_code() -> None:
    async with served() as server:
        client = await server.connect()
        await client.send(frame(Opcode.CLOSE) + text_frame("not read"))
        assert await client.closed() == NO_STATUS
        handler = await server.handler()
        await handler.is_closed()
        assert handler.seen == [Close(None, None)]


async def test_the_handler_closes_with_code_and_reason() -> None:
    """The connection ends only when the peer has answered; nothing can be written meanwhile."""
    async with served() as server:
        client = await server.connect()
        handler = await server.handler()
        connection = handler.ws_connection
        with pytest.raises(ValueError, match="125"):
            handler.close(4000, "x" * 124)
        handler.write_message("still open")
        assert await client.receive_text() == "still open"
        handler.close(4000, "žluť" * 20)
        handler.close(4001, "not twice")
        for write in (handler.write_message, handler.ping, connection.write_message):
            with pytest.raises(WebSocketClosedError):
                write("too late")
        connection.write_text(b"too late")
        await client.send(frame(Opcode.PING, b"no pong after a close"))
        assert await receive_close(client) == (4000, "žluť" * 20)
        assert not handler.closed.is_set()
        await client.send(close_frame(4000, "as you wish"))
        assert await client.end() == b""
        await handler.is_closed()
        assert (handler.close_code, handler.close_reason) == (4000, "as you wish")


@pytest.mark.parametrize(
    ("arguments", "payload"),
    [((), b""), ((1001,), b"\x03\xe9"), ((None, "bye"), b"\x03\xe8bye")],
)
async def test_the_handler_may_close_without_code_or_reason(
    arguments: tuple[int | None, str], payload: bytes
) -> None:
    async with served() as server:
        client = await server.connect()
        (await server.handler()).close(*arguments)
        assert await client.receive_frame() == Frame(Opcode.CLOSE, payload, True)


async def test_open_may_close() -> None:
    class Closing(Recorder):
        def open(self) -> None:
            super().open()
            self.close(1008, "go away")

    async with served(Closing) as server:
        client = await server.connect(pipelined=text_frame("early"))
        assert await client.closed() == 1008
        await (await server.handler()).is_closed()


async def test_a_peer_that_does_not_answer_a_close_is_dropped() -> None:
    """This holds even for a peer that goes on sending."""
    async with served(limits={"close_timeout": 0.05}) as server:
        client = await server.connect()
        handler = await server.handler()
        handler.close(1001)
        await client.send(frame(Opcode.PING) * 10)
        assert await receive_close(client) == (1001, "")
        await handler.is_closed()
        assert handler.close_code is None
        assert await client.end() == b""


@pytest.mark.parametrize("half_closed", [True, False])
async def test_a_peer_that_does_not_read_at_the_end_is_dropped(half_closed: bool) -> None:
    async with served(buffer=SMALL_BUFFER, limits={"close_timeout": 0.05}) as server:
        client = await server.connect(receive_buffer=SMALL_BUFFER)
        handler = await server.handler()
        client.stop_reading()
        written = await handler_writes_much(handler)
        if half_closed:
            client.half_close()
        else:
            await client.send(close_frame(1000))
        await handler.is_closed()
        with pytest.raises(WebSocketClosedError):
            await written


@pytest.mark.parametrize("much", [0, 8_000_000])
async def test_a_violation_is_answered_with_its_code(much: int) -> None:
    """The peer receives the code even while it is still sending a lot."""
    async with served(buffer=SMALL_BUFFER) as server:
        client = await server.connect()
        handler = await server.handler()
        client.write(text_frame("before") + text_frame("x")[:1] + b"\x01" + bytes(much))
        client.write(text_frame("not read"))
        assert await client.receive_text() == "before"
        assert await receive_close(client) == (1002, "frame without mask")
        await handler.is_closed()
        assert handler.seen == ["before", Close(None, None)]
        await client.send(close_frame(1002))
        client.half_close()
        assert await client.end() == b""


async def test_a_message_that_is_too_big_is_refused_by_its_header() -> None:
    async with served(websocket_max_message_size=10) as server:
        client = await server.connect()
        await client.send(text_frame("x" * 10) + text_frame("x" * 11)[:2])
        assert await client.receive_text() == "x" * 10
        assert await receive_close(client) == (1009, "message too big")


async def test_who_breaks_the_protocol_and_stays_is_dropped() -> None:
    async with served(limits={"close_timeout": 0.05}) as server:
        client = await server.connect()
        await client.send(frame(3))
        assert await client.closed() == 1002
        # `served` waits until the connection is gone.
        await (await server.handler()).is_closed()


class Failing(Echo):
    def fail(self, where: str) -> None:
        if self.request.headers.get("X-Fail") == where:
            raise ZeroDivisionError(where)

    def open(self) -> None:
        super().open()
        self.fail("open")

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        self.fail("on_message")
        if self.request.headers.get("X-Fail") == "later in on_message":
            return self.later()
        return super().on_message(message)

    async def later(self) -> None:
        await asyncio.sleep(0)
        self.fail("later in on_message")

    def on_ping(self, data: bytes) -> None:
        self.fail("on_ping")

    def on_pong(self, data: bytes) -> None:
        self.fail("on_pong")

    def on_close(self) -> None:
        super().on_close()
        self.fail("on_close")


@pytest.mark.parametrize(
    "where", ["open", "on_message", "later in on_message", "on_ping", "on_pong", "on_close"]
)
async def test_what_a_handler_raises_ends_its_connection(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The exception is logged, and others do not notice it."""
    async with served(Failing) as server:
        other = await server.connect()
        client = await server.connect(headers={"X-Fail": where})
        await server.handler()
        handler = await server.handler()
        sent = frame(Opcode.PING) + frame(Opcode.PONG) + text_frame("1") + close_frame(1000)
        client.write(sent)
        await client.end()
        await handler.is_closed()
        (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == where
        await other.send_text("still there")
        assert await other.receive_text() == "still there"


class Odd(Recorder):
    """Does things that no handler should do."""

    def initialize(self, served: Served) -> None:
        super().initialize(served)
        self.logged: list[type[BaseException]] = []

    def on_message(self, message: str | bytes) -> Any:
        if message == "cancelled":
            raise asyncio.CancelledError
        return {"true": True, "list": [1], "future": self.cancelled()}[str(message)]

    def cancelled(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        return future

    def on_close(self) -> None:
        super().on_close()
        raise asyncio.CancelledError

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        self.logged.append(typ)


@pytest.mark.parametrize(
    ("message", "logged"),
    [
        ("cancelled", asyncio.CancelledError),
        ("true", BadYieldError),
        ("list", BadYieldError),
        ("future", asyncio.CancelledError),
    ],
)
async def test_an_odd_handler_ends_its_connection_alone(
    message: str, logged: type[BaseException]
) -> None:
    """The handler raises CancelledError, or returns a value that cannot be awaited."""
    async with served(Odd) as server:
        client = await server.connect()
        handler = await server.handler()
        await client.send(text_frame(message) + frame(Opcode.PING))
        assert await client.end() == b""
        await handler.is_closed()
        assert handler.logged == [logged, asyncio.CancelledError]


# Writing


async def test_json_and_utf8_are_written() -> None:
    async with served() as server:
        client = await server.connect()
        handler = await server.handler()
        handler.write_message({"a": 1})
        handler.write_message(b"\xff", binary=True)
        handler.ws_connection.write_text("ž".encode())
        handler.ping("p")
        assert await client.receive_text() == '{"a": 1}'
        assert await client.receive_frame() == Frame(Opcode.BINARY, b"\xff", True)
        assert await client.receive_text() == "ž"
        assert await client.receive_frame() == Frame(Opcode.PING, b"p", True)
        with pytest.raises(ValueError, match="125"):
            handler.ping(b"x" * 126)


async def test_a_message_is_written_when_most_of_it_has_been_taken() -> None:
    """`unsent` is what has not been taken."""
    async with served(buffer=SMALL_BUFFER) as server:
        client = await server.connect(receive_buffer=SMALL_BUFFER)
        handler = await server.handler()
        await handler.write_message("small")
        assert await client.receive_text() == "small"
        assert handler.ws_connection.unsent == 0
        client.stop_reading()
        written = await handler_writes_much(handler)
        await works(server)
        assert not written.done()
        unsent = handler.ws_connection.unsent
        assert 0 < unsent < MUCH + 10
        another = handler.write_message("another")
        assert handler.ws_connection.unsent == unsent + 9
        assert not another.done()
        client.resume_reading()
        assert len((await client.receive_frame()).payload) == MUCH
        assert await client.receive_text() == "another"
        async with asyncio.timeout(10):
            await written
            await another
        assert handler.ws_connection.unsent == 0


async def test_a_message_that_is_lost_is_not_written() -> None:
    async with served(buffer=SMALL_BUFFER) as server:
        client = await server.connect(receive_buffer=SMALL_BUFFER)
        handler = await server.handler()
        client.stop_reading()
        written = await handler_writes_much(handler)
        given_up = handler.write_message("another")
        given_up.cancel()
        client.reset()
        with pytest.raises(WebSocketClosedError):
            async with asyncio.timeout(10):
                await written
        assert given_up.cancelled()


async def test_nodelay_is_set_on_the_socket() -> None:
    async with served() as server:
        await server.connect()
        connection = (await server.handler()).ws_connection
        fd = connection._transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(fd)) as sock:
            for value in (False, True):
                connection.set_nodelay(value)
                nodelay = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert bool(nodelay) is value


# Liveness


async def test_a_peer_that_answers_pings_stays() -> None:
    async with served(websocket_ping_interval=0.1) as server:
        client = await server.connect()
        for _ in range(4):
            assert await client.receive_frame() == Frame(Opcode.PING, b"", True)
            await client.send(frame(Opcode.PONG))
        await client.send_text("here")
        assert await client.receive_text() == "here"


async def test_without_timeout_pings_need_no_answer() -> None:
    async with served(websocket_ping_interval=0.02, websocket_ping_timeout=0) as server:
        client = await server.connect()
        for _ in range(3):
            assert await client.receive_frame() == Frame(Opcode.PING, b"", True)


async def test_a_busy_handler_is_no_reason_to_drop_its_peer() -> None:
    """Pongs are not read while the handler runs."""
    async with served(Busy, websocket_ping_interval=0.1) as server:
        client = await server.connect()
        handler = await server.handler()
        await client.send_text("1")
        for _ in range(3):
            assert await client.receive_frame() == Frame(Opcode.PING, b"", True)
            await client.send(frame(Opcode.PONG))
        handler.go.set()
        await answered(client)
        assert not handler.closed.is_set()


class Flood(Recorder):
    """Writes to a peer that asks for it, as fast as the peer takes it."""

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        return self.flood() if message == "flood" else None

    async def flood(self) -> None:
        with suppress(WebSocketClosedError):
            while True:
                await self.write_message(b"x" * 65536, binary=True)


@pytest.mark.parametrize("half_closed", [True, False])
async def test_a_peer_that_takes_nothing_is_dropped_though_the_handler_is_busy(
    half_closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler would wait for ever."""
    only_turns(monkeypatch)
    async with served(Flood, buffer=SMALL_BUFFER, websocket_ping_interval=0.1) as server:
        client = await server.connect(receive_buffer=SMALL_BUFFER)
        handler = await server.handler()
        client.stop_reading()
        # Each message takes a turn, in which the end is read.
        client.write(text_frame("") * 100 + text_frame("flood"))
        if half_closed:
            client.half_close()
            await until(lambda: handler.ws_connection._ended)
        await handler.is_closed()


async def test_a_peer_that_takes_something_stays_while_the_handler_is_busy() -> None:
    """This holds however much is unsent at the end, and although no pong is read."""
    async with served(
        Busy, buffer=SMALL_BUFFER, websocket_ping_interval=600, websocket_ping_timeout=300
    ) as server:
        client = await server.connect(receive_buffer=SMALL_BUFFER)
        handler = await server.handler()
        connection = handler.ws_connection
        await client.send_text("be busy")
        await until(lambda: bool(handler.seen))
        client.stop_reading()

        def stays() -> bool:
            connection._check_pong(last=True)
            return not connection.is_closing()

        # There is nothing to wait for: the handler is busy with something else.
        connection._ping()
        assert stays()
        # Some of it is taken, then most of it, and then there is more than before.
        connection.write_text(b"x" * MUCH)
        connection._ping()
        unsent = connection.unsent
        client.resume_reading()
        await until(lambda: connection.unsent < unsent)
        assert stays()
        connection._ping()
        while connection.unsent:
            await client.receive_frame()
        client.stop_reading()
        connection.write_text(b"x" * MUCH * 2)
        assert connection.unsent > unsent
        assert stays()
        connection._ping()
        assert not stays()
        handler.go.set()
        await handler.is_closed()


async def test_a_pong_counts_that_came_while_the_event_loop_stood_still() -> None:
    """The pong is read first, whatever timer is due."""

    class Blocking(Recorder):
        def on_message(self, message: str | bytes) -> None:
            with socket.socket(fileno=os.dup(fd)) as sock:
                sock.send(frame(Opcode.PONG))
            sleep(0.3)

    async with served(Blocking, websocket_ping_interval=0.2) as server:
        client = await server.connect()
        fd = client.writer.get_extra_info("socket").fileno()
        handler = await server.handler()
        assert await client.receive_frame() == Frame(Opcode.PING, b"", True)
        await client.send_text("block")
        assert await client.receive_frame() == Frame(Opcode.PING, b"", True)
        assert handler.seen == [Pong(b"")]


# The handshake


class Choosy(Echo):
    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        self.offered = subprotocols
        return subprotocols[-1] if subprotocols else None


@pytest.mark.parametrize(
    ("header", "offered"), [("", []), ("a", ["a"]), ("a, b ,c", ["a", "b", "c"])]
)
async def test_the_handler_selects_a_subprotocol(header: str, offered: list[str]) -> None:
    async with served(Choosy) as server:
        client = await server.connect(headers={"Sec-WebSocket-Protocol": header})
        handler = await server.handler()
        selected = offered[-1] if offered else None
        assert handler.offered == offered
        assert handler.selected_subprotocol == selected
        assert client.response.headers.get("sec-websocket-protocol") == selected


async def test_a_subprotocol_that_was_not_offered_is_a_mistake() -> None:
    """The mistake is the handler's: the client would have to end the connection (RFC 6455, 4.1)."""

    class Inventive(Recorder):
        def select_subprotocol(self, subprotocols: list[str]) -> str | None:
            return "another"

    async with served(Inventive) as server:
        with pytest.raises(HandshakeError) as refused:
            await server.connect(headers={"Sec-WebSocket-Protocol": "one"})
        assert refused.value.args[0].status == 500
        assert not server.handlers


async def test_the_response_is_that_of_the_rfc() -> None:
    """No extension is agreed to (RFC 6455, section 4.2.2)."""
    async with served() as server:
        offer = {"Sec-WebSocket-Extensions": "permessage-deflate"}
        headers = dict((await server.connect(headers=offer)).response.headers)
        assert headers["upgrade"] == "websocket"
        assert headers["connection"] == "Upgrade"
        assert headers["sec-websocket-accept"] == ACCEPT
        assert "sec-websocket-extensions" not in headers
        assert "content-type" not in headers


async def test_all_connections_at_once_lose_nothing() -> None:
    """Twenty peers send a hundred messages each, which arrive in order."""
    async with served() as server:
        clients = [await server.connect() for _ in range(20)]

        async def talk(client: Client) -> None:
            client.write(b"".join(text_frame(str(count)) for count in range(100)))
            for count in range(100):
                assert await client.receive_text() == str(count)
            assert await client.close() == 1000

        await asyncio.gather(*map(talk, clients))


async def test_a_peer_that_is_gone_is_gone() -> None:
    async with served() as server:
        client = await server.connect()
        handler = await server.handler()
        client.abort()
        await handler.is_closed()
        with pytest.raises(ClosedError) as closed:
            await client.receive_text()
        assert closed.value.code == ABNORMAL
