"""WebSocket frames for a client, and the messages of which the load is made.

It has only what a load generator needs. Frames are built once and patched. Incoming messages are
handed on as a slice of the received bytes instead of being copied and decoded.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from itertools import cycle

MASK = b"\x37\xfa\x21\x3d"
"""The masking key of all frames. It costs a server as much as any other (RFC 6455, 5.3)."""

MARK = b"bench:"
"""The bytes before the number in every message that is relayed."""

DIGITS = 14
"""The width of a message number: six digits for the stream, eight for the position in it."""

STREAM_SPAN = 10**8
"""How many message numbers one stream has."""

MAX_STREAMS = 10**6
"""The greatest number of streams."""

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10

Receive = Callable[[bytes, int, int], None]
"""A function that is called with (data, start, end), where the message is `data[start:end]`."""


class ProtocolError(Exception):
    """A server has sent bytes that no server may send (RFC 6455, 5.1 and 5.2)."""


def mask(payload: bytes, key: bytes = MASK) -> bytes:
    """Return `payload` XORed with the 4-byte `key`; the same call unmasks."""
    size = len(payload)
    pattern = (key * (size // 4 + 1))[:size]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")
    return number.to_bytes(size, "big")


def frame(payload: bytes, opcode: int = _TEXT) -> bytes:
    """Return one masked, final client frame."""
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        header = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return header + MASK + mask(payload)


def close_frame(code: int = 1000) -> bytes:
    """Return a masked close frame with a status code and no reason."""
    return frame(struct.pack("!H", code), _CLOSE)


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping that carried `payload`."""
    return frame(payload, _PONG)


class Template:
    """A masked frame in which only the number after `MARK` changes from one message to the next.

    `fill` masks 14 bytes instead of the whole message. This keeps the load generator cheaper than a
    server.
    """

    __slots__ = ("_head", "_key", "_tail")

    def __init__(self, payload: bytes) -> None:
        """Build the frame of `payload`, which contains `MARK` once, followed by `DIGITS` digits."""
        whole = frame(payload)
        in_payload = payload.index(MARK) + len(MARK)
        at = len(whole) - len(payload) + in_payload
        self._head = whole[:at]
        self._tail = whole[at + DIGITS :]
        turn = in_payload % 4
        key = (MASK[turn:] + MASK[:turn]) * (DIGITS // 4 + 1)
        self._key = int.from_bytes(key[:DIGITS], "big")

    def fill(self, number: int) -> bytes:
        """Return the frame with `number` in it, 0 <= number < 10**14."""
        slot = int.from_bytes(b"%014d" % number, "big") ^ self._key
        return b"".join((self._head, slot.to_bytes(DIGITS, "big"), self._tail))


def number_in(data: bytes, start: int, end: int) -> int:
    """Return the number of the relayed message `data[start:end]`, or -1 if it carries none."""
    at = data.find(MARK, start, end)
    if at < 0:
        return -1
    at += 6
    return int(data[at : at + 14])


class FrameReader:
    """Splits a byte stream from a server into messages.

    Each complete message goes to `receive` at once, in order. A message in one frame, as nearly all
    are, is not copied. Control frames go to `on_ping` and `on_close`; pongs are ignored.
    """

    __slots__ = ("_fragments", "_rest", "on_close", "on_ping", "receive")

    def __init__(
        self,
        receive: Receive,
        on_ping: Callable[[bytes], None],
        on_close: Callable[[bytes], None],
    ) -> None:
        """Start with an empty buffer. `receive` may be replaced at any time, even by itself."""
        self.receive = receive
        self.on_ping = on_ping
        self.on_close = on_close
        self._rest = b""
        """The beginning of a frame whose end has not come yet."""
        self._fragments: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream; raise ProtocolError if no server may send them."""
        if self._rest:
            data = self._rest + data
        at = 0
        size = len(data)
        while size - at >= 2:
            length = data[at + 1]
            start = at + 2
            if length >= 126:
                if length > 127:
                    raise ProtocolError("masked frame from the server")
                start = at + (4 if length == 126 else 10)
                if start > size:
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
            end = start + length
            if end > size:
                break
            if data[at] == 0x81:
                self.receive(data, start, end)
            else:
                self._uncommon(data[at], data[start:end])
            at = end
        self._rest = data[at:] if at < size else b""

    def _uncommon(self, first: int, payload: bytes) -> None:
        opcode = first & 0x0F
        if first & 0x70 or 2 < opcode < 8 or opcode > _PONG:
            raise ProtocolError(f"frame starting with byte 0x{first:02x}")
        if opcode == _PING:
            self.on_ping(payload)
        elif opcode == _CLOSE:
            self.on_close(payload)
        elif opcode <= _BINARY:
            self._fragments.append(payload)
            if first & 0x80:
                message = b"".join(self._fragments)
                self._fragments.clear()
                self.receive(message, 0, len(message))


# Messages ----------------------------------------------------------------------------------------

_SDP_LINES = (
    "a=rtpmap:111 opus/48000/2",
    "a=fmtp:111 minptime=10;useinbandfec=1",
    "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "a=rtcp-fb:96 goog-remb",
    "a=rtcp-fb:96 nack pli",
    "a=rtpmap:96 VP8/90000",
    "a=ssrc:2231627014 cname:4TOk42mSjXCkVIa6",
)


def _encode(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def join(room: str) -> bytes:
    """Return the frame that joins `room`."""
    return frame(_encode({"type": "join", "payload": {"room_id": room}}))


def description(kind: str, client_id: str, size: int) -> bytes:
    """Return an offer or answer to `client_id` as JSON of `size` bytes.

    It is a little longer if `size` is too small for it. The SDP is made of lines like a browser's,
    so that a server meets as many JSON escapes as in a real one.
    """
    start = f"v=0\r\no=- {MARK.decode()}{'0' * DIGITS} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"

    def build(sdp: str) -> bytes:
        return _encode({"type": kind, "payload": {"sdp": sdp, "client_id": client_id}})

    sdp = start
    for line in cycle(_SDP_LINES):
        longer = f"{sdp}{line}\r\n"
        left = size - len(build(sdp))
        if len(build(longer)) + len(_encode("a=\r\n")) > size:
            break
        sdp = longer
    # The last line takes what is left. Its own six bytes are "a=" and the escaped end of the line.
    if left >= 6:
        sdp += f"a={'x' * (left - 6)}\r\n"
    return build(sdp)


def candidate(client_id: str) -> bytes:
    """Return an ICE candidate for `client_id` as JSON, about 250 bytes."""
    text = (
        "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.17"
        f" rport 46154 generation 0 ufrag EsAw network-id 1 {MARK.decode()}{'0' * DIGITS}"
    )
    payload = {"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0, "client_id": client_id}
    return _encode({"type": "ice-candidate", "payload": payload})
