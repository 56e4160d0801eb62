"""`LoopProtocol` behaves as Tornado's own protocol, except for its answers to violations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from tests.support.client import Opcode, frame, head
from tests.transport.served import Echo, Recorder, Served, served
from transport.frames import Close
from transport.protocol import LoopProtocol

MAX_MESSAGE_SIZE = 1000
# Tornado adds a control frame that comes between fragments to the size of their message.
LARGE = MAX_MESSAGE_SIZE - 125

# The violations that Tornado sees as well.
VIOLATIONS = {
    frame(Opcode.TEXT, b"x", rsv=2): 1002,
    frame(3): 1002,
    frame(Opcode.PING, fin=False): 1002,
    frame(Opcode.PING, b"x" * 126): 1002,
    frame(Opcode.CLOSE, b"x"): 1002,
    frame(Opcode.CLOSE, (1005).to_bytes(2)): 1002,
    frame(Opcode.TEXT, b"\xff"): 1007,
    head(Opcode.BINARY, MAX_MESSAGE_SIZE + 1): 1009,
}


class CoroutineEcho(Echo):
    """Adds an entry when a message has been written."""

    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message, binary=isinstance(message, bytes))
        self.seen.append(message)

    def open(self) -> Awaitable[None]:
        super().open()
        return asyncio.sleep(0)


@dataclass
class Case:
    """The bytes that a peer sends, in pieces, and how many messages they are."""

    pieces: list[bytes]
    messages: int
    code: int | None
    """The code of the close to be received, if it ends in a violation."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    stream = b""
    violation, code = None, None
    if draw(st.integers(0, 3)) == 0:
        violation, code = draw(st.sampled_from(sorted(VIOLATIONS.items())))
    message = st.text(max_size=50) | st.binary(max_size=50) | st.just(b"x" * LARGE)
    control = st.lists(st.tuples(st.sampled_from([9, 10]), st.binary(max_size=125)), max_size=1)
    messages = draw(st.lists(message, max_size=4))
    for one in messages:
        payload = one.encode() if isinstance(one, str) else one
        opcode = Opcode.TEXT if isinstance(one, str) else Opcode.BINARY
        places = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=2)))
        for count, (start, end) in enumerate(pairwise([0, *places, len(payload)])):
            stream += frame(opcode, payload[start:end], fin=count == len(places))
            opcode = Opcode.CONTINUATION
            stream += b"".join(frame(*two) for two in draw(control))
    if violation is not None:
        stream += violation
    else:
        codes = st.sampled_from([1000, 1001, 1013, 3000, 4999])
        reason = st.text(max_size=30)
        closes = st.builds(lambda code, text: code.to_bytes(2) + text.encode(), codes, reason)
        stream += frame(Opcode.CLOSE, draw(st.just(b"") | closes))
    places = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:end] for start, end in pairwise([0, *places, len(stream)])]
    return Case([piece for piece in pieces if piece], len(messages), code)


async def exchange(server: Served, case: Case) -> tuple[list[object], bytes]:
    """Return what the handler is told and what the peer is sent."""
    client, handler = await server.pair()
    assert isinstance(handler.ws_connection, LoopProtocol) is not server.tornado
    sent = asyncio.create_task(client.end())
    for piece in case.pieces:
        if client.writer.is_closing():
            break  # Tornado has closed already.
        client.write(piece)
        for _ in range(3):
            await asyncio.sleep(0)  # The event loop reads this piece before the next.
    try:
        await handler.is_closed()
        if case.code is not None and not client.writer.is_closing():
            with suppress(OSError):  # Tornado has closed the connection by now.
                client.half_close()
        return handler.seen, await sent
    finally:
        client.abort()


async def compare(ours: Served, theirs: Served, case: Case) -> None:
    """Check that both protocols do the same, up to a violation.

    At a violation Tornado mostly just ends the connection; here the peer is told its code.
    """
    (seen, sent), (their_seen, their_sent) = await asyncio.gather(
        exchange(ours, case), exchange(theirs, case)
    )
    assert sum(isinstance(event, str | bytes) for event in seen) == case.messages
    if case.code is None:
        assert seen == their_seen
        assert sent == their_sent
        return
    assert seen.pop() == Close(None, None)
    assert their_seen[: len(seen)] == seen
    before, _, close = sent.rpartition(b"\x88")
    assert close[0] == len(close) - 1
    assert close[1:3] == case.code.to_bytes(2)
    assert their_sent.startswith(before)


@pytest.mark.parametrize("handler", [Echo, pytest.param(CoroutineEcho, marks=pytest.mark.thorough)])
def test_handler_and_peer_cannot_tell_the_difference(
    handler: type[Recorder], io_loop: IOLoop
) -> None:
    """Messages, pings, pongs, close code and reason, echoes and closes are the same to the byte."""
    stack = AsyncExitStack()

    async def start(tornado: bool) -> Served:
        server = served(handler, tornado=tornado, websocket_max_message_size=MAX_MESSAGE_SIZE)
        return await stack.enter_async_context(server)

    ours = io_loop.run_sync(lambda: start(False))
    theirs = io_loop.run_sync(lambda: start(True))

    @settings(max_examples=100)
    @given(cases())
    def check(case: Case) -> None:
        io_loop.run_sync(lambda: compare(ours, theirs, case))

    try:
        check()
    finally:
        io_loop.run_sync(stack.aclose)


CLOSE = frame(Opcode.CLOSE, (4000).to_bytes(2) + "kůň".encode())
# Each is a stream, its number of messages, and the code of the close to be received.
STREAMS = {
    "one of each": (
        frame(Opcode.TEXT, "ž𝄞".encode())
        + frame(Opcode.BINARY, b"\xff")
        + frame(Opcode.PING, b"1")
        + frame(Opcode.PONG)
        + frame(Opcode.TEXT)
        + CLOSE,
        3,
        None,
    ),
    "fragments": (
        frame(Opcode.TEXT, b"\xf0\x9d", fin=False)
        + frame(Opcode.PING)
        + frame(Opcode.CONTINUATION, fin=False)
        + frame(Opcode.CONTINUATION, b"\x84\x9e")
        + frame(Opcode.BINARY, b"\xff", fin=False)
        + frame(Opcode.CONTINUATION)
        + frame(Opcode.CLOSE),
        2,
        None,
    ),
    "lengths": (
        frame(Opcode.TEXT, b"x" * 126)
        + b"\x82\xfe\0\x01\0\0\0\0x"
        + b"\x82\xff\0\0\0\0\0\0\0\x01\0\0\0\0x"
        + CLOSE,
        3,
        None,
    ),
    **{
        f"violation {count}": (frame(Opcode.TEXT, b"x") + violation, 1, code)
        for count, (violation, code) in enumerate(VIOLATIONS.items())
        if len(violation) < 100
    },
}


@pytest.mark.parametrize("name", STREAMS)
async def test_it_does_not_matter_where_a_stream_is_cut(name: str) -> None:
    """This holds for any two pieces, and byte by byte."""
    # With debug mode this would take three times as long.
    asyncio.get_running_loop().set_debug(False)
    stream, messages, code = STREAMS[name]
    cuts = [[stream[:place], stream[place:]] for place in range(1, len(stream))]
    cuts.append([bytes([byte]) for byte in stream])
    async with (
        served(websocket_max_message_size=MAX_MESSAGE_SIZE) as ours,
        served(tornado=True, websocket_max_message_size=MAX_MESSAGE_SIZE) as theirs,
    ):
        for start in range(0, len(cuts), 20):
            async with asyncio.TaskGroup() as group:
                for pieces in cuts[start : start + 20]:
                    group.create_task(compare(ours, theirs, Case(pieces, messages, code)))
