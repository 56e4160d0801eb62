"""The server's answers to well-formed frames and to others, by RFC 6455."""

import struct

import pytest

from tests.conformance.conftest import Members
from tests.support.client import (
    ABNORMAL,
    NO_STATUS,
    Frame,
    Opcode,
    close_frame,
    frame,
    head,
    masked,
    text_frame,
)
from tests.support.peer import Peer, leave_client, message, offer

MIB = 1 << 20
ZERO_MASK = bytes(4)
CLOSE_CODES = [1000, 1001, 1002, 1003, *range(1007, 1014), 3000, 3999, 4000, 4999]
BAD_CLOSE_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 65535]

BAD_FRAMES = {
    "unmasked-text": frame(Opcode.TEXT, b"{}", mask=None),
    "unmasked-ping": frame(Opcode.PING, b"hello", mask=None),
    "unmasked-close": frame(Opcode.CLOSE, b"\x03\xe8", mask=None),
    "rsv1": frame(Opcode.TEXT, b"{}", rsv=4),
    "rsv2": frame(Opcode.TEXT, b"{}", rsv=2),
    "rsv3": frame(Opcode.TEXT, b"{}", rsv=1),
    "rsv-and-unmasked": frame(Opcode.TEXT, b"{}", rsv=7, mask=None),
    "rsv1-on-ping": frame(Opcode.PING, b"hello", rsv=4),
    **{f"opcode-{number}": frame(number, b"{}") for number in (3, 4, 5, 6, 7)},
    **{f"opcode-{number}": frame(number, b"{}") for number in (11, 12, 13, 14, 15)},
    "stray-continuation": frame(Opcode.CONTINUATION, b"{}"),
    "stray-first-continuation": frame(Opcode.CONTINUATION, b"{}", fin=False),
    "continuation-after-message": text_frame('{"type":"ping"}') + frame(Opcode.CONTINUATION),
    "text-in-fragments": frame(Opcode.TEXT, b"{", fin=False) + text_frame("}"),
    "binary-in-fragments": frame(Opcode.TEXT, b"{", fin=False) + frame(Opcode.BINARY, b"}"),
    "long-ping": frame(Opcode.PING, bytes(126)),
    "long-pong": frame(Opcode.PONG, bytes(126)),
    "long-close": frame(Opcode.CLOSE, b"\x03\xe8" + b"x" * 124),
    "fragmented-ping": frame(Opcode.PING, b"hello", fin=False),
    "fragmented-pong": frame(Opcode.PONG, b"hello", fin=False),
    "fragmented-close": frame(Opcode.CLOSE, b"\x03\xe8", fin=False),
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}

BAD_UTF8 = {
    "no-utf8": b"\xff",
    "continuation-byte": b"\x80",
    "2-bytes-cut": b"\xc3",
    "3-bytes-cut": b"\xe2\x82",
    "4-bytes-cut": b"\xf0\x9f\x98",
    "overlong": b"\xc0\xaf",
    "surrogate": b"\xed\xa0\x80",
    "surrogate-pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond-unicode": b"\xf4\x90\x80\x80",
}


def offer_bytes(to: Peer, sdp: str) -> bytes:
    """Return an offer as a client sends it."""
    return message("offer", client_id=to.id, sdp=sdp).encode()


def offer_of_size(to: Peer, size: int) -> tuple[bytes, str]:
    """Return an offer of exactly ``size`` bytes, and its SDP."""
    sdp = "x" * (size - len(offer_bytes(to, "")))
    return offer_bytes(to, sdp), sdp


def fragments(opcode: Opcode, *payloads: bytes) -> list[bytes]:
    """Return a message as one frame per payload."""
    last = len(payloads) - 1
    return [
        frame(Opcode.CONTINUATION if number else opcode, payload, fin=number == last)
        for number, payload in enumerate(payloads)
    ]


async def says_goodbye_after(peer: Peer, data: bytes) -> int:
    """Send ``data``, which must end the connection; return the close code.

    A message follows in the same segment. If it is answered, ``data`` was not the end.
    """
    await peer.send(data + text_frame(message("offer", client_id=peer.id, sdp="too late")))
    return await peer.closed()


# Data


async def test_binary(members: Members, room: str) -> None:
    """A binary message is read like a text message, and relayed as text."""
    first, second = await members(room)
    await first.send(frame(Opcode.BINARY, offer_bytes(second, "in binary, é")))
    assert await second.receive() == offer(first, "in binary, é")


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
async def test_fragments(members: Members, room: str, opcode: Opcode) -> None:
    """A message may come in fragments: of one byte each, empty, and cut inside a character."""
    first, second = await members(room)
    data = offer_bytes(second, "é\U0001f600")
    cut = data.index("é".encode()) + 1
    for parts in (
        [data[:10], data[10:20], data[20:]],
        [data[:cut], data[cut:]],
        [b"", b"", data, b""],
        [bytes([byte]) for byte in data],
    ):
        await first.send(b"".join(fragments(opcode, *parts)))
        assert await second.receive() == offer(first, "é\U0001f600")


async def test_ping_between_fragments(members: Members, room: str) -> None:
    """Control frames between the fragments of a message are answered and do no harm."""
    first, second = await members(room)
    data = offer_bytes(second, "x")
    start, end = fragments(Opcode.TEXT, data[:20], data[20:])
    await first.send(start + frame(Opcode.PING, b"mid") + frame(Opcode.PONG, b"mid") + end)
    assert await first.receive_frame() == Frame(Opcode.PONG, b"mid", True)
    assert await second.receive() == offer(first, "x")


@pytest.mark.parametrize("mask", [ZERO_MASK, b"\xff\xff\xff\xff", b"\x00\xa5\x00\x5a"], ids=str)
async def test_masks(members: Members, room: str, mask: bytes) -> None:
    """Any masking key is accepted, including zero."""
    first, second = await members(room)
    await first.send(frame(Opcode.TEXT, offer_bytes(second, "x" * 300), mask=mask))
    assert await second.receive() == offer(first, "x" * 300)


async def test_frames_in_one_segment(members: Members, room: str) -> None:
    """Many frames in one segment are as many messages, in order."""
    first, second = await members(room)
    frames = [frame(Opcode.TEXT, offer_bytes(second, f"{number}")) for number in range(12)]
    await first.send(b"".join(frames))
    for number in range(12):
        assert await second.receive() == offer(first, f"{number}")


@pytest.mark.parametrize("length", [10, 300, 70_000], ids=["7-bit", "16-bit", "64-bit-length"])
async def test_frame_in_many_segments(members: Members, room: str, length: int) -> None:
    """A frame may come in many segments, cut anywhere."""
    first, second = await members(room)
    data = frame(Opcode.TEXT, offer_bytes(second, "x" * length))
    for byte in data[:20]:
        await first.send(bytes([byte]))
        # The answer shows that the server has seen the byte before the next one is sent.
        await second.say("offer", client_id=second.id, sdp="seen")
        assert await second.receive() == offer(second, "seen")
    await first.send(data[20:-1])
    assert await second.received() == []
    await first.send(data[-1:])
    assert await second.receive() == offer(first, "x" * length)


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(range(125))], ids=["0", "5", "125"])
async def test_ping(members: Members, room: str, payload: bytes) -> None:
    """A ping is answered by a pong with its payload."""
    (peer,) = await members(room, 1)
    await peer.send(frame(Opcode.PING, payload))
    assert await peer.receive_frame() == Frame(Opcode.PONG, payload, True)


async def test_unsolicited_pong(members: Members, room: str) -> None:
    """A pong that nobody asked for is ignored."""
    (peer,) = await members(room, 1)
    await peer.send(frame(Opcode.PONG) + frame(Opcode.PONG, b"hello"))
    assert await peer.received() == []


# Sizes


@pytest.mark.parametrize("parts", [1, 2, 1000])
async def test_largest_message(members: Members, room: str, parts: int) -> None:
    """A message of 1 MiB is accepted, in any number of fragments."""
    first, second = await members(room)
    data, sdp = offer_of_size(second, MIB)
    size = MIB // parts + 1
    await first.send(
        b"".join(fragments(Opcode.TEXT, *(data[i : i + size] for i in range(0, MIB, size))))
    )
    assert await second.receive() == offer(first, sdp)


@pytest.mark.differ
@pytest.mark.parametrize("length", [MIB + 1, 1 << 32, 1 << 40])
async def test_announced_too_large(members: Members, room: str, length: int) -> None:
    """A frame announced as over 1 MiB is answered with 1009, without waiting for the rest."""
    first, second = await members(room)
    await first.send(head(Opcode.TEXT, length) + b"the beginning")
    assert await first.closed() == 1009
    assert await second.receive() == leave_client(first)


@pytest.mark.differ
async def test_message_too_large(members: Members, room: str) -> None:
    """A message over 1 MiB, sent to its end, is answered with 1009 and relayed to nobody."""
    first, second = await members(room)
    data, _ = offer_of_size(second, MIB + 1)
    first.write(frame(Opcode.TEXT, data))
    assert await first.closed() == 1009
    assert await second.receive() == leave_client(first)


@pytest.mark.differ
async def test_fragments_too_large(members: Members, room: str) -> None:
    """Fragments of more than 1 MiB together are answered with 1009."""
    first, second = await members(room)
    half = frame(Opcode.TEXT, bytes(MIB // 2), fin=False)
    await first.send(half + head(Opcode.CONTINUATION, MIB // 2 + 1, fin=False))
    assert await first.closed() == 1009
    assert await second.receive() == leave_client(first)


@pytest.mark.differ
async def test_impossible_length(members: Members, room: str) -> None:
    """A 64-bit length with its highest bit set, which RFC 6455 forbids, ends the connection."""
    (peer,) = await members(room, 1)
    await peer.send(head(Opcode.TEXT, (1 << 63) + 5) + b"hello")
    assert await peer.closed() in (1002, 1009)


# The end


@pytest.mark.parametrize("code", CLOSE_CODES)
async def test_close(members: Members, room: str, code: int) -> None:
    """A close is answered with its code, whatever its reason, and nothing after it is read."""
    (peer,) = await members(room, 1)
    assert await says_goodbye_after(peer, close_frame(code, "warum nicht, é")) == code


@pytest.mark.differ
async def test_close_1014(members: Members, room: str) -> None:
    """1014 is a close code like the others. The original does not know it."""
    (peer,) = await members(room, 1)
    assert await says_goodbye_after(peer, close_frame(1014)) == 1014


async def test_close_without_code(members: Members, room: str) -> None:
    """A close without a code is answered with a close without a code."""
    (peer,) = await members(room, 1)
    assert await says_goodbye_after(peer, frame(Opcode.CLOSE)) == NO_STATUS


@pytest.mark.frames
@pytest.mark.parametrize("code", BAD_CLOSE_CODES)
async def test_close_with_bad_code(members: Members, room: str, code: int) -> None:
    """A close with a code that may not be sent is answered with 1002."""
    (peer,) = await members(room, 1)
    assert await says_goodbye_after(peer, close_frame(code, "why")) == 1002


# The recording shows that the original answers this one with a close without a code.
@pytest.mark.frames
@pytest.mark.differ
async def test_close_of_one_byte(members: Members, room: str) -> None:
    """A close whose body is one byte is answered with 1002."""
    (peer,) = await members(room, 1)
    assert await says_goodbye_after(peer, frame(Opcode.CLOSE, b"\x03")) == 1002


@pytest.mark.frames
async def test_close_with_bad_reason(members: Members, room: str) -> None:
    """A close whose reason is not UTF-8 is answered as a fault in protocol or in data."""
    (peer,) = await members(room, 1)
    body = struct.pack("!H", 1000) + b"\xff"
    assert await says_goodbye_after(peer, frame(Opcode.CLOSE, body)) in (1002, 1007)


@pytest.mark.frames
@pytest.mark.parametrize("data", BAD_FRAMES.values(), ids=BAD_FRAMES)
async def test_protocol_error(members: Members, room: str, data: bytes) -> None:
    """A frame that breaks the protocol is answered with 1002, and nothing after it is read."""
    (peer,) = await members(room, 1)
    assert await says_goodbye_after(peer, data) == 1002


@pytest.mark.differ
@pytest.mark.parametrize("name", ["rsv1", "opcode-3", "stray-continuation", "long-ping"])
async def test_protocol_error_is_a_departure(members: Members, room: str, name: str) -> None:
    """A client that is cut off for breaking the protocol has left its room."""
    first, second = await members(room)
    await first.send(BAD_FRAMES[name])
    assert await second.receive() == leave_client(first)
    assert await second.received() == []


@pytest.mark.frames
@pytest.mark.differ
@pytest.mark.parametrize("data", BAD_UTF8.values(), ids=BAD_UTF8)
@pytest.mark.parametrize("where", ["value", "key", "between", "fragment"])
async def test_text_is_no_utf8(members: Members, room: str, where: str, data: bytes) -> None:
    """A text message that is not UTF-8, wherever the fault, is answered with 1007."""
    first, second = await members(room)
    start = offer_bytes(second, "x")
    texts = {
        "value": [start.replace(b'"x"', b'"[' + data + b']"')],
        "key": [start.replace(b'"sdp"', b'"' + data + b'":1,"sdp"')],
        "between": [data + start],
        "fragment": [start[:-4] + data, start[-4:]],
    }
    assert await says_goodbye_after(first, b"".join(fragments(Opcode.TEXT, *texts[where]))) == 1007
    assert await second.receive() == leave_client(first)
    assert await second.received() == []


async def test_half_close(members: Members, room: str) -> None:
    """The connection of a client that half-closes it without a close frame is ended."""
    (peer,) = await members(room, 1)
    peer.half_close()
    assert await peer.closed() == ABNORMAL


async def test_half_a_frame(members: Members, room: str) -> None:
    """Half a frame at the end of the connection is not relayed."""
    first, second = await members(room)
    data = frame(Opcode.TEXT, offer_bytes(second, "x"))
    await first.send(data[:-1])
    first.half_close()
    assert await first.closed() == ABNORMAL
    assert offer(first, "x") not in await second.received()


def test_masking() -> None:
    """The client of these tests masks as RFC 6455, section 5.7, shows."""
    assert masked(b"\x7f\x9f\x4d\x51\x58", b"\x37\xfa\x21\x3d") == b"Hello"
