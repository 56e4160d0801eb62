"""The frame parser and the frame writer, on values alone."""

from __future__ import annotations

import random
import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.util import _websocket_mask

from tests.support.client import Opcode, head
from tests.support.client import frame as client_frame
from transport.frames import (
    Close,
    CloseCode,
    Event,
    FrameParser,
    Ping,
    Pong,
    Violation,
    close_payload,
    frame,
    may_close_with,
)

SIZE = 300
# How much a parser may hold besides a message: the beginning of a control frame.
CONTROL_FRAME = 2 + 4 + 125
TEXT, BINARY, CONTINUATION = Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG


def new_parser(size: int = SIZE) -> FrameParser:
    return FrameParser(size, _websocket_mask)


def parse(*pieces: bytes, size: int = SIZE) -> list[Event]:
    parser = new_parser(size)
    return [event for piece in pieces for event in parser.feed(piece)]


def held(parser: FrameParser) -> int:
    return len(parser._rest or b"") + len(parser._message or b"")


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    return [stream[start:end] for start, end in pairwise([0, *sorted(places), len(stream)])]


# Valid streams


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 125, 126, 127, 65535, 65536, 100_000])
@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\x01\x02\x03\x04", b"\xff\xff\xff\xff"])
def test_a_message_of_any_length_is_unmasked(length: int, mask: bytes) -> None:
    """Lengths take one, three or nine bytes (RFC 6455, section 5.2)."""
    payload = random.Random(length).randbytes(length)
    assert parse(client_frame(BINARY, payload, mask=mask), size=length) == [payload]
    text = "x" * length
    assert parse(client_frame(TEXT, text.encode(), mask=mask), size=length) == [text]


@pytest.mark.parametrize("start", [b"\x82\xfe\x00\x01", b"\x82\xff\0\0\0\0\0\0\0\x01"])
def test_a_length_may_be_longer_than_it_has_to_be(start: bytes) -> None:
    assert parse(start + b"\0\0\0\0x") == [b"x"]


def test_text_is_str_and_binary_is_bytes() -> None:
    stream = client_frame(TEXT, "žluť 𝄞".encode()) + client_frame(BINARY, b"\xff")
    assert parse(stream) == ["žluť 𝄞", b"\xff"]


def test_control_frames_come_between_fragments() -> None:
    """A fragment may be empty, and may end inside a character (RFC 6455, section 5.4)."""
    stream = (
        client_frame(TEXT, b"\xc5", fin=False)
        + client_frame(PING, b"1")
        + client_frame(CONTINUATION, b"", fin=False)
        + client_frame(PONG, b"2")
        + client_frame(CONTINUATION, b"\xbe")
    )
    assert parse(stream) == [Ping(b"1"), Pong(b"2"), "ž"]


def test_a_close_ends_a_stream_inside_a_message_too() -> None:
    stream = client_frame(TEXT, b"x", fin=False) + client_frame(CLOSE) + client_frame(PING)
    assert parse(stream) == [Close(None, None)]


VALID_CODES = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
INVALID_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", VALID_CODES)
def test_a_valid_close_code_is_told(code: int) -> None:
    payload = code.to_bytes(2)
    assert may_close_with(code)
    assert parse(client_frame(CLOSE, payload)) == [Close(code, None)]
    assert parse(client_frame(CLOSE, payload + "kůň".encode())) == [Close(code, "kůň")]
    assert parse(client_frame(CLOSE, payload + b"x" * 123)) == [Close(code, "x" * 123)]


# Invalid streams


@pytest.mark.parametrize("code", INVALID_CODES)
def test_an_invalid_close_code_is_answered_1002(code: int) -> None:
    assert not may_close_with(code)
    check_violation(client_frame(CLOSE, code.to_bytes(2) + b"why"), 1002)


def check_violation(stream: bytes, code: int, size: int = SIZE) -> None:
    """Check that the violation is the last event, after those before it, however it is cut."""
    before = client_frame(BINARY, b"before")
    after = client_frame(BINARY, b"after")
    for pieces in ([before + stream + after], [bytes([byte]) for byte in before + stream + after]):
        told, violation = parse(*pieces, size=size)
        assert told == b"before"
        assert isinstance(violation, Violation)
        assert violation.code == code
        assert violation.reason


OPEN_TEXT = client_frame(TEXT, b"x", fin=False)
PROTOCOL_ERRORS = {
    "text without mask": client_frame(TEXT, b"x", mask=None),
    "ping without mask": client_frame(PING, mask=None),
    "close without mask": client_frame(CLOSE, mask=None),
    **{f"RSV{4 - bit}": client_frame(TEXT, b"x", rsv=1 << bit - 1) for bit in (1, 2, 3)},
    **{f"ping with RSV{4 - bit}": client_frame(PING, rsv=1 << bit - 1) for bit in (1, 2, 3)},
    "RSV in a continuation": OPEN_TEXT + client_frame(CONTINUATION, rsv=4),
    **{f"opcode {code}": client_frame(code, b"x") for code in (*range(3, 8), *range(11, 16))},
    **{f"opcode {code} in a message": OPEN_TEXT + client_frame(code) for code in (3, 7, 11, 15)},
    "continuation of nothing": client_frame(CONTINUATION, b"x"),
    "first fragment of nothing": client_frame(CONTINUATION, b"x", fin=False),
    "continuation of a whole message": client_frame(CONTINUATION, b"x") + client_frame(TEXT),
    "text in a message": OPEN_TEXT + client_frame(TEXT, b"x"),
    "binary in a message": OPEN_TEXT + client_frame(BINARY, b"x"),
    "fragment of another message": OPEN_TEXT + client_frame(BINARY, b"x", fin=False),
    "close of one byte": client_frame(CLOSE, b"\x03"),
    "text with a negative length": b"\x81\xff\x80" + bytes(7),
    "binary with a negative length": b"\x82\xff" + b"\xff" * 8,
}
for _code in (CLOSE, PING, PONG):
    PROTOCOL_ERRORS[f"{_code.name} of 126 bytes"] = client_frame(_code, b"x" * 126)
    PROTOCOL_ERRORS[f"{_code.name} of 65536 bytes"] = head(_code, 65536)
    PROTOCOL_ERRORS[f"{_code.name} in fragments"] = client_frame(_code, fin=False)


@pytest.mark.parametrize("name", PROTOCOL_ERRORS)
def test_a_protocol_error_is_answered_1002(name: str) -> None:
    """The errors are those of RFC 6455, sections 5.1 to 5.5."""
    check_violation(PROTOCOL_ERRORS[name], 1002)


@pytest.mark.parametrize(
    "text",
    [b"\xff", b"\xc5", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok \xce\xba\xe1"],
)
def test_what_is_not_utf8_is_answered_1007(text: bytes) -> None:
    """This holds for text, for text in fragments, and for the reason of a close (section 8.1)."""
    check_violation(client_frame(TEXT, text), 1007)
    fragments = [client_frame(TEXT, text[:1], fin=False), client_frame(CONTINUATION, text[1:])]
    check_violation(b"".join(fragments), 1007)
    check_violation(client_frame(CLOSE, (1000).to_bytes(2) + text), 1007)
    assert parse(client_frame(BINARY, text)) == [text]


@pytest.mark.parametrize(
    "fragments",
    [(b"\xff",), (b"\xce\xba", b"\xed\xa0", b"\x80"), (b"x\xc5", b"", b"x"), (b"\xf4", b"\x90")],
)
def test_text_is_checked_as_its_fragments_come(fragments: tuple[bytes, ...]) -> None:
    """A message that is wrong already is refused without its rest (section 8.1)."""
    first, *others = fragments
    stream = client_frame(TEXT, first, fin=False)
    stream += b"".join(client_frame(CONTINUATION, other, fin=False) for other in others)
    check_violation(stream, 1007)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("length", [SIZE + 1, 1 << 16, (1 << 63) - 1])
def test_what_is_too_big_is_answered_1009(opcode: int, fin: bool, length: int) -> None:
    """The length in the header counts, before anything of the payload has come."""
    check_violation(head(opcode, length, fin=fin, mask=b"")[:10], 1009)


def test_fragments_are_too_big_together() -> None:
    """The fragment that would exceed the limit is refused by its header; one that fits is not."""
    first = client_frame(BINARY, b"x" * (SIZE - 1), fin=False)
    check_violation(first + head(CONTINUATION, 2, mask=b""), 1009)
    assert parse(first + client_frame(CONTINUATION, b"x")) == [b"x" * SIZE]


def test_a_control_frame_is_never_too_big() -> None:
    stream = client_frame(BINARY, b"x", fin=False) + client_frame(PING, b"x" * 125)
    assert parse(stream + client_frame(CONTINUATION), size=1) == [Ping(b"x" * 125), b"x"]


def test_codes_are_those_of_the_rfc() -> None:
    """They are those of RFC 6455, section 7.4.1."""
    assert [*CloseCode] == [1002, 1007, 1009]


# Writing


@pytest.mark.parametrize(
    ("length", "start"),
    [
        (0, "8200"),
        (125, "827d"),
        (126, "827e007e"),
        (65535, "827effff"),
        (65536, "827f0000000000010000"),
    ],
)
def test_a_frame_has_the_shortest_length(length: int, start: str) -> None:
    """The server's frames are not masked (RFC 6455, section 5.2)."""
    payload = b"x" * length
    assert frame(BINARY, payload) == bytes.fromhex(start) + payload


def test_a_close_has_a_code_before_its_reason() -> None:
    """Its form is that of RFC 6455, section 5.5.1."""
    assert close_payload(None, None) == b""
    assert close_payload(1001, None) == b"\x03\xe9"
    assert close_payload(4000, "bye") == struct.pack("!H", 4000) + b"bye"
    assert close_payload(None, "bye") == struct.pack("!H", 1000) + b"bye"


def test_a_reason_has_to_fit_into_a_control_frame() -> None:
    """It may have 125 bytes with the code (RFC 6455, section 5.5)."""
    assert len(close_payload(1000, "x" * 123)) == 125
    for reason in ("x" * 124, "ž" * 62):
        with pytest.raises(ValueError, match="125"):
            close_payload(1000, reason)


# Any stream


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """Draw a valid stream and the events that it means."""
    stream = b""
    events: list[Event] = []

    def control() -> None:
        nonlocal stream
        for data in draw(st.lists(st.binary(max_size=125), max_size=1)):
            is_ping = draw(st.booleans())
            mask = draw(st.binary(min_size=4, max_size=4))
            stream += client_frame(PING if is_ping else PONG, data, mask=mask)
            events.append(Ping(data) if is_ping else Pong(data))

    for message in draw(st.lists(st.text(max_size=70) | st.binary(max_size=SIZE), max_size=5)):
        payload = message.encode() if isinstance(message, str) else message
        opcode = TEXT if isinstance(message, str) else BINARY
        places = draw(st.lists(st.integers(0, len(payload)), max_size=3))
        *fragments, last = cut(payload, places)
        control()
        for fragment in fragments:
            stream += client_frame(opcode, fragment, fin=False)
            opcode = CONTINUATION
            control()
        stream += client_frame(opcode, last)
        events.append(message)
    return stream, events


@settings(max_examples=200)
@given(streams(), st.data())
def test_it_does_not_matter_where_a_stream_is_cut(
    case: tuple[bytes, list[Event]], data: st.DataObject
) -> None:
    stream, events = case
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    assert parse(*cut(stream, places)) == events
    assert parse(*(bytes([byte]) for byte in stream)) == events


@settings(max_examples=200)
@given(streams(), st.data())
def test_another_parser_can_go_on(case: tuple[bytes, list[Event]], data: st.DataObject) -> None:
    """It is fed what the first one holds, and then the rest."""
    stream, events = case
    first, rest = cut(stream, [data.draw(st.integers(0, len(stream)))])
    parser = new_parser()
    begun = parser.feed(first)
    assert begun + parse(parser.unfinished(), rest) == events


def valid_stream(dice: random.Random) -> bytes:
    stream = b""
    for _ in range(dice.randint(1, 5)):
        payload = dice.choice([b"x" * dice.randint(0, SIZE), "ž".encode() * dice.randint(0, 9)])
        opcode = dice.choice([TEXT, BINARY])
        if dice.random() < 0.5:
            place = dice.randint(0, len(payload))
            stream += client_frame(opcode, payload[:place], fin=False)
            stream += client_frame(dice.choice([PING, PONG]), dice.randbytes(dice.randint(0, 125)))
            stream += client_frame(CONTINUATION, payload[place:])
        else:
            stream += client_frame(opcode, payload)
    return stream + client_frame(CLOSE, dice.choice([b"", b"\x03\xe8", b"\x03\xe8why"]))


def mutate(stream: bytearray, dice: random.Random) -> None:
    for _ in range(dice.randint(1, 4)):
        # It may be anywhere, but places near the beginning, where most is decided, are more likely.
        place = int(dice.random() ** 2 * len(stream))
        kind = dice.random()
        if kind < 0.5:
            stream[place] = dice.getrandbits(8)
        elif kind < 0.7:
            stream[place] ^= 1 << dice.randrange(8)
        elif kind < 0.8:
            del stream[place : place + dice.randint(1, 20)]
        elif kind < 0.9:
            stream[place:place] = dice.randbytes(dice.randint(1, 20))
        else:
            stream[place:place] = stream[: dice.randint(1, 100)]
        if not stream:
            return


def test_no_mutation_of_a_stream_does_harm() -> None:
    """Of 100,000, none raises, none makes the parser hold too much, and nothing follows the end.

    A parser holds at most a message, the beginning of a control frame and the last piece.
    """
    dice = random.Random(6455)
    valid = [valid_stream(dice) for _ in range(200)]
    ends = {Close: 0, Violation: 0, None: 0}
    for _ in range(100_000):
        stream = bytearray(dice.choice(valid))
        mutate(stream, dice)
        parser = new_parser()
        end: type[Close] | type[Violation] | None = None
        start = 0
        while start < len(stream):
            piece = bytes(stream[start : start + dice.choice((7, 100, 2000))])
            start += len(piece)
            for event in parser.feed(piece):
                assert end is None
                if isinstance(event, Close | Violation):
                    end = type(event)
                elif isinstance(event, str | bytes):
                    size = len(event.encode() if isinstance(event, str) else event)
                    assert size <= SIZE
            assert held(parser) <= (SIZE + CONTROL_FRAME + len(piece) if end is None else 0)
        ends[end] += 1
    assert min(ends.values()) > 1000, "the mutations are not what they should be"
