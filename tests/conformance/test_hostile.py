"""Whatever one client sends, the server answers sensibly, and others notice nothing."""

import json
from collections.abc import Awaitable, Iterator
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from tests.support.client import ABNORMAL, ClosedError, Connection, Opcode, frame, text_frame
from tests.support.peer import (
    INVALID_MESSAGE,
    INVALID_PAYLOAD,
    UNKNOWN_TYPE,
    Peer,
    answer,
    failed,
    message,
    new_client,
    offer,
)

pytestmark = pytest.mark.differ

ERRORS = {INVALID_MESSAGE, INVALID_PAYLOAD, UNKNOWN_TYPE, *map(failed, ("offer", "answer"))}
ERRORS |= {failed("ice-candidate")}

# The answers to bytes that are not UTF-8: one of a server that checks, one of a server that only
# closes.
CLOSES = {1007, ABNORMAL}

VALID = [
    message("join", room_id="room"),
    message("offer", client_id="x" * 20, sdp="v=0\r\n"),
    message("answer", client_id="x" * 20, sdp="v=0\r\n"),
    message(
        "ice-candidate",
        candidate="candidate:1",
        client_id="x" * 20,
        sdpMLineIndex=0,
        sdpMid="0",
        usernameFragment="f",
    ),
    message("ping"),
]

# The examples are the same in every run.
examples = settings(max_examples=40, derandomize=True, database=None)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Arena:
    """A server, with a bystander in a room who must notice nothing of the attacks."""

    def __init__(self, url: str, bystander: Peer) -> None:
        self.url = url
        self.bystander = bystander

    async def attack(self, data: bytes, allowed: set[str] = ERRORS) -> list[str]:
        """Send frames as one client; return what it is told, which must be among ``allowed``.

        Afterwards, check that a new pair is served and that the bystander has received nothing.
        """
        attacker = await Peer.connect(self.url)
        await attacker.join(f"attack-{uuid4()}")
        await attacker.send(data)
        told: list[str] = []
        try:
            told = await attacker.received()
        except ClosedError as closed:
            if closed.code not in CLOSES:
                raise
        attacker.abort()
        assert set(told) <= allowed
        await self.serves_a_fresh_pair()
        assert await self.bystander.received() == []
        return told

    async def noise(self, opening: Awaitable[Connection], data: bytes) -> None:
        """Send bytes on a connection and drop it; check the same as after an attack."""
        connection = await opening
        await connection.send(data)
        connection.abort()
        await self.serves_a_fresh_pair()
        assert await self.bystander.received() == []

    async def serves_a_fresh_pair(self) -> None:
        first, second = await Peer.connect(self.url), await Peer.connect(self.url)
        room = f"fresh-{uuid4()}"
        await first.join(room)
        await second.join(room)
        assert await first.receive() == new_client(second)
        await first.say("offer", client_id=second.id, sdp="x")
        assert await second.receive() == offer(first, "x")
        await second.say("answer", client_id=first.id, sdp="y")
        assert await first.receive() == answer(second, "y")
        first.abort()
        second.abort()


@pytest.fixture
def arena(url: str, io_loop: IOLoop, room: str) -> Iterator[Arena]:
    async def enter() -> Peer:
        peer = await Peer.connect(url)
        await peer.join(room)
        return peer

    async def leave() -> None:
        await bystander.close()

    bystander = io_loop.run_sync(enter)
    yield Arena(url, bystander)
    io_loop.run_sync(leave)


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """Draw a valid message in which a few characters have been replaced."""
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 5, len(text))))
        text = text[:start] + draw(st.text(max_size=3)) + text[end:]
    return text


@st.composite
def wrongly_typed(draw: st.DrawFn) -> str:
    """Draw a valid message in which one value has been replaced by any other."""
    request = json.loads(draw(st.sampled_from(VALID)))
    where = draw(st.sampled_from([request, request["payload"]]))
    key = draw(st.sampled_from(sorted(where) or ["payload"]))
    where[key] = draw(json_values)
    return json.dumps(request)


def test_arbitrary_text(arena: Arena, io_loop: IOLoop) -> None:
    """Any text gets one error."""

    @examples
    @given(st.text())
    def check(text: str) -> None:
        told = io_loop.run_sync(lambda: arena.attack(text_frame(text)))
        assert len(told) == 1

    check()


def test_arbitrary_binary(arena: Arena, io_loop: IOLoop) -> None:
    """Any bytes as a binary message get one error, or a close if they are not UTF-8."""

    @examples
    @given(st.binary())
    def check(data: bytes) -> None:
        io_loop.run_sync(lambda: arena.attack(frame(Opcode.BINARY, data), {INVALID_MESSAGE}))

    check()


def test_arbitrary_json(arena: Arena, io_loop: IOLoop) -> None:
    """Any JSON gets one error."""

    @examples
    @given(json_values | st.dictionaries(st.sampled_from(["type", "payload", "x"]), json_values))
    def check(value: object) -> None:
        told = io_loop.run_sync(lambda: arena.attack(text_frame(json.dumps(value))))
        assert len(told) == 1

    check()


def test_arbitrary_payload(arena: Arena, io_loop: IOLoop) -> None:
    """Any payload of a known type gets at most one error."""
    kinds = st.sampled_from(["join", "offer", "answer", "ice-candidate", "ping", "pong"])

    @examples
    @given(st.fixed_dictionaries({"type": kinds, "payload": json_values}))
    def check(value: object) -> None:
        told = io_loop.run_sync(lambda: arena.attack(text_frame(json.dumps(value))))
        assert len(told) <= 1

    check()


def test_mutants(arena: Arena, io_loop: IOLoop) -> None:
    """A valid message with some characters replaced gets at most one error."""

    @examples
    @given(mutants())
    def check(text: str) -> None:
        told = io_loop.run_sync(lambda: arena.attack(text_frame(text)))
        assert len(told) <= 1

    check()


def test_wrong_types(arena: Arena, io_loop: IOLoop) -> None:
    """A valid message with one value replaced gets at most one error."""

    @examples
    @given(wrongly_typed())
    def check(text: str) -> None:
        told = io_loop.run_sync(lambda: arena.attack(text_frame(text)))
        assert len(told) <= 1

    check()


def test_no_frames(arena: Arena, io_loop: IOLoop) -> None:
    """Any bytes in place of frames harm only their sender."""

    @examples
    @given(st.binary(min_size=1))
    def check(data: bytes) -> None:
        io_loop.run_sync(lambda: arena.noise(Peer.connect(arena.url), data))

    check()


def test_no_http(arena: Arena, io_loop: IOLoop) -> None:
    """Any bytes in place of a request harm only their sender."""

    @examples
    @given(st.binary(min_size=1), st.sampled_from([b"", b"GET /connect HTTP/1.1\r\n"]))
    def check(data: bytes, start: bytes) -> None:
        io_loop.run_sync(lambda: arena.noise(Connection.open(arena.url), start + data))

    check()


MANY = 100_000
MONSTERS = {
    "open-lists": "[" * MANY,
    "open-objects": '{"a":' * MANY,
    "lists": "[" * MANY + "]" * MANY,
    "objects": '{"a":' * MANY + "1" + "}" * MANY,
    "nested-payload": f'{{"type":"join","payload":{"[" * MANY}{"]" * MANY}}}',
    "nested-room": f'{{"type":"join","payload":{{"room_id":{"[" * MANY}{"]" * MANY}}}}}',
    "nested-type": f'{{"type":{"[" * MANY}{"]" * MANY},"payload":{{"room_id":"x"}}}}',
    "nested-unknown": f'{{"x":{"[" * MANY}{"]" * MANY},"type":"join","payload":{{}}}}',
    "nested-and-surrogate": f'{{"x":{"[" * MANY}{"]" * MANY},"y":"\\ud83d"}}',
    "huge-integer": f'{{"x":{"1" * MANY},"type":"join","payload":{{}}}}',
    "huge-integer-and-surrogate": f'{{"x":{"1" * MANY},"y":"\\ud83d"}}',
    "huge-index": VALID[3].replace(":0,", f":{'1' * MANY},"),
    "huge-exponent": VALID[3].replace(":0,", ":1e999999999,"),
    "huge-fraction": VALID[3].replace(":0,", f":0.{'0' * MANY}1,"),
    "huge-key": f'{{"{"k" * MANY}":1}}',
    "many-keys": "{" + ",".join(f'"{number}":1' for number in range(MANY // 4)) + "}",
    "same-keys": "{" + '"type":1,' * MANY + '"type":2}',
    "many-surrogates": '{"type":"join","payload":{"room_id":"' + r"\ud83d" * MANY + '"}}',
    "many-nuls": '{"type":"join","payload":{"room_id":"' + r"\u0000" * MANY + '"}}',
}


@pytest.mark.parametrize("text", MONSTERS.values(), ids=MONSTERS)
async def test_monsters(arena: Arena, text: str) -> None:
    """Deep nesting, huge numbers and floods of keys get one error."""
    assert len(await arena.attack(text_frame(text))) == 1
