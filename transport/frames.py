"""WebSocket frames (RFC 6455, section 5), without sockets and without an event loop.

`FrameParser` reads what a client sends; `frame` and `close_payload` make what a server sends.
"""

from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple


class Opcode(IntEnum):
    """The opcodes of RFC 6455, section 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """The codes with which a parser may have to close a connection (RFC 6455, section 7.4.1)."""

    PROTOCOL_ERROR = 1002
    INVALID_TEXT = 1007
    TOO_BIG = 1009


class Ping(NamedTuple):
    data: bytes


class Pong(NamedTuple):
    data: bytes


class Close(NamedTuple):
    """The peer's close. `code` and `reason` are None if it gave none."""

    code: int | None
    reason: str | None


class Violation(NamedTuple):
    """The peer broke the protocol. `code` and `reason` are those to close with."""

    code: CloseCode
    reason: str


Event = str | bytes | Ping | Pong | Close | Violation
"""What a parser reads; a text message is a str, and a binary message is bytes."""

_FIN: Final = 0x80
_RSV: Final = 0x70
_OPCODE: Final = 0x0F
_CONTROL: Final = 0x08
_MASKED: Final = 0x80

# As numbers: looking up a member of Opcode costs more than comparing with it.
_TEXT: Final = int(Opcode.TEXT)
_PING: Final = int(Opcode.PING)
_PONG: Final = int(Opcode.PONG)
_WHOLE_TEXT: Final = _FIN | _TEXT
_OPCODES: Final = frozenset(map(int, Opcode))

_new_decoder: Final = getincrementaldecoder("utf-8")


class FrameParser:
    """Makes events of what a client sends, in whatever pieces it arrives.

    `unmask(key, payload)` applies a masking key of four bytes. A message of more than
    `max_message_size` bytes is a violation as soon as the header of a frame declares it. So between
    calls the parser holds at most one message, the beginning of one frame, and the last piece; the
    call that completes a large frame needs three times its size for a moment.

    Text that is not UTF-8 is a violation at the end of the first frame that shows it.
    """

    __slots__ = ("_decoder", "_ended", "_message", "_needed", "_rest", "_size", "_unmask", "held")

    def __init__(self, max_message_size: int, unmask: Callable[[bytes, bytes], bytes]) -> None:
        self.held = 0
        """Bytes of a message or a frame that are not complete yet."""
        self._size = max_message_size
        self._unmask = unmask
        # The beginning of a frame, and how long it must become before reading on makes sense.
        self._rest: bytearray | None = None
        self._needed = 0
        # The fragments so far of a message, and the decoder that checks them if it is text.
        self._message: bytearray | None = None
        self._decoder: IncrementalDecoder | None = None
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        """Take the next piece and return what is complete now, in order. Never raises.

        A Close or a Violation is the last event: what follows it is not read.
        """
        events: list[Event] = []
        if self._ended:
            return events
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._needed:
                self._count()
                return events
            data = bytes(self._rest)
            self._rest = None
            self._count()

        start = 0  # of the frame
        available = len(data)
        while True:
            end = start + 2  # of what is needed of it next
            if end > available:
                break
            first = data[start]
            second = data[start + 1]
            if first != _WHOLE_TEXT or second < _MASKED or self._message is not None:
                fault = self._fault(first, second)
                if fault:
                    return self._violate(events, CloseCode.PROTOCOL_ERROR, fault)
            length = second & 0x7F
            if length == 126:
                end += 2
                if end > available:
                    break
                length = data[start + 2] << 8 | data[start + 3]
            elif length == 127:
                end += 8
                if end > available:
                    break
                length = int.from_bytes(data[start + 2 : end])
                if length >> 63:
                    return self._violate(events, CloseCode.PROTOCOL_ERROR, "negative length")
            size = length if self._message is None else length + len(self._message)
            if size > self._size and not first & _CONTROL:
                return self._violate(events, CloseCode.TOO_BIG, "message too big")
            key = end
            end += 4 + length
            if end > available:
                break
            payload = self._unmask(data[key : key + 4], data[key + 4 : end])
            start = end

            if first & _CONTROL:
                event = _control(first & _OPCODE, payload)
                events.append(event)
                if isinstance(event, Close | Violation):
                    self.stop()
                    return events
                continue
            try:
                if first == _WHOLE_TEXT:
                    events.append(payload.decode())
                else:
                    message = self._add(first, payload)
                    if message is not None:
                        events.append(message)
            except UnicodeDecodeError:
                return self._violate(events, CloseCode.INVALID_TEXT, "text is not UTF-8")

        if start < available:
            self._rest = bytearray(data[start:] if start else data)
            self._needed = end - start
            self._count()
        return events

    @property
    def missing(self) -> int:
        """Bytes that must come before there can be another event, as far as is known."""
        return 0 if self._rest is None else self._needed - len(self._rest)

    def end_of_frame(self, data: bytes | memoryview) -> int:
        """Return where in `data` the frame ends that goes on or begins there; 0 if that is near."""
        if self._rest is None and len(data) >= 4 and data[1] & 0x7F == 126:
            return 8 + (data[2] << 8 | data[3])
        return self.missing

    def unfinished(self) -> bytes:
        """Return what is held, as a client could send it to a parser that is to go on here."""
        begun = b""
        if self._message is not None:
            opcode = Opcode.BINARY if self._decoder is None else Opcode.TEXT
            header = bytes((opcode, _MASKED | 127)) + len(self._message).to_bytes(8)
            begun = header + bytes(4) + self._message  # The masking key changes nothing.
        return begun + (self._rest or b"")

    def stop(self) -> None:
        """Read nothing more, and forget what is not complete."""
        self._ended = True
        self._rest = self._message = None
        self.held = 0

    def _count(self) -> None:
        self.held = len(self._rest or b"") + len(self._message or b"")

    def _add(self, first: int, payload: bytes) -> str | bytes | None:
        """Add a fragment; return the message if it is complete. Raises UnicodeDecodeError."""
        if self._message is None:
            self._message = bytearray()
            self._decoder = _new_decoder() if first & _OPCODE == _TEXT else None
        self._message += payload
        if not first & _FIN:
            self._count()
            if self._decoder is not None:
                self._decoder.decode(payload)
            return None
        message = bytes(self._message)
        self._message = None
        self._count()
        return message if self._decoder is None else message.decode()

    def _fault(self, first: int, second: int) -> str:
        """Return what is wrong with the first two bytes of a frame; empty if nothing is."""
        opcode = first & _OPCODE
        if first & _RSV:
            return "reserved bits"
        if opcode not in _OPCODES:
            return "unknown opcode"
        if second < _MASKED:
            return "frame without mask"
        if opcode & _CONTROL:
            if not first & _FIN:
                return "control frame in fragments"
            if second & 0x7F > 125:
                return "control frame too long"
        elif opcode == Opcode.CONTINUATION:
            if self._message is None:
                return "continuation of nothing"
        elif self._message is not None:
            return "message within a message"
        return ""

    def _violate(self, events: list[Event], code: CloseCode, reason: str) -> list[Event]:
        events.append(Violation(code, reason))
        self.stop()
        return events


def _control(opcode: int, payload: bytes) -> Event:
    if opcode == _PING:
        return Ping(payload)
    if opcode == _PONG:
        return Pong(payload)
    if not payload:
        return Close(None, None)
    code = int.from_bytes(payload[:2])
    if len(payload) == 1 or not may_close_with(code):
        return Violation(CloseCode.PROTOCOL_ERROR, "invalid close code")
    try:
        return Close(code, payload[2:].decode() or None)
    except UnicodeDecodeError:
        return Violation(CloseCode.INVALID_TEXT, "reason is not UTF-8")


def may_close_with(code: int) -> bool:
    """Return whether a close may have that code (RFC 6455, section 7.4, and IANA's register)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a frame as servers send it: final and not masked."""
    length = len(payload)
    if length < 126:
        return bytes((_FIN | opcode, length)) + payload
    if length < 1 << 16:
        return bytes((_FIN | opcode, 126, length >> 8, length & 0xFF)) + payload
    return bytes((_FIN | opcode, 127)) + length.to_bytes(8) + payload


def close_payload(code: int | None, reason: str | None) -> bytes:
    """Return the payload of a close frame. Raises ValueError for a reason of more than 123 bytes.

    A reason without a code is given 1000 (normal closure).
    """
    if code is None and reason is None:
        return b""
    payload = (1000 if code is None else code).to_bytes(2) + (reason or "").encode()
    if len(payload) > 125:
        raise ValueError("control frame payloads may not exceed 125 bytes")
    return payload
