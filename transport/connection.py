"""A WebSocket connection after the handshake, as a state machine (RFC 6455, sections 5 to 7).

It has no socket, no event loop and no clock. What it sends goes to `write`, which in a test can be
the `append` of a list; what time it is, its owner says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from transport.frames import Close, Opcode, close_payload, frame

_TEXT: Final = int(Opcode.TEXT)
_BINARY: Final = int(Opcode.BINARY)
_CLOSE: Final = int(Opcode.CLOSE)
_PING: Final = int(Opcode.PING)
_PONG: Final = int(Opcode.PONG)

UNHEARD: Final = 1011, "ping timeout"
"""The close for a peer that is not heard any more. No code is meant for it; this one says that
something unexpected ended the connection, and clients come back from it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection may take. Sizes are in bytes, times in seconds."""

    max_message_size: int
    """A longer message of the peer closes the connection with 1009."""
    ping_interval: float
    """Between two pings; 0 for none."""
    ping_timeout: float
    """For the pong to come, at most `ping_interval`; 0 for not waiting for it."""
    close_timeout: float = 5.0
    """For the peer to answer a close; Tornado's own figure. A peer that takes some of what is to be
    sent meanwhile gets as long again, so that a slow reader comes to read the close."""
    end_timeout: float = 60.0
    """For everything after a close. Without it a peer could keep what waits for it in memory for
    ever, by taking a byte now and then. To read 4 MiB in that time takes 70 kB/s."""
    turn: float = 0.005
    """For the messages of one peer before the others have a turn. What a peer sends in one piece
    can cost a thousand times as much when each message is passed on to a full room."""
    grace: float = 0.01
    """For which the event loop reads on before a peer is given up: if it stood still until now, it
    may not have got to a pong that has come."""
    standstill: float = 1.0
    """A timer that is this late shows that the whole process stood still: it was stopped or
    suspended, perhaps with the network. Then every peer has all of its time again."""


class State(Enum):
    """How far a connection has come to its end (RFC 6455, section 7).

    OPEN ── close() ──────────────────> CLOSING
      │                                    │
      ├── refuse(): the peer broke the ────┼──> DISCARDING
      │   protocol, or is not heard        │        │
      ├── receive_close(), receive_end() ──┴────────┴──> FLUSHING
      │
      └── lose(), from any state ──────────────────────> CLOSED
    """

    OPEN = auto()
    """Both sides may send messages."""
    CLOSING = auto()
    """Our close is sent. What the peer still sends is read, until it closes too."""
    DISCARDING = auto()
    """Our close is sent. What the peer still sends is thrown away, until it closes too."""
    FLUSHING = auto()
    """The peer has sent all it will. What waits for it is still sent."""
    CLOSED = auto()
    """Nothing passes any more, in either direction."""


# As globals, for looking up a member of an Enum costs more than comparing with it.
_OPEN: Final = State.OPEN
_CLOSING: Final = State.CLOSING

_NO_CLOSE: Final = Close(None, None)


class Connection:
    """What may be sent in which state, and how the connection ends."""

    __slots__ = ("peer_close", "state", "write")

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.write = write
        self.state = State.OPEN
        self.peer_close = _NO_CLOSE
        """The peer's close; without a code if it gave none, or has not closed."""

    @property
    def is_reading(self) -> bool:
        """Whether what the peer sends still means anything."""
        return self.state is _OPEN or self.state is _CLOSING

    # What we send

    def send_text(self, text: bytes) -> None:
        """Send a text message that is UTF-8 already; unless OPEN, do nothing."""
        if self.state is _OPEN:
            self.write(frame(_TEXT, text))

    def send_binary(self, data: bytes) -> None:
        """Send a binary message; unless OPEN, do nothing."""
        if self.state is _OPEN:
            self.write(frame(_BINARY, data))

    def send_ping(self, data: bytes) -> None:
        """Send a ping; unless OPEN, do nothing. Raises ValueError for more than 125 bytes."""
        if len(data) > 125:
            raise ValueError("control frame payloads may not exceed 125 bytes")
        if self.state is _OPEN:
            self.write(frame(_PING, data))

    def send_pong(self, data: bytes) -> None:
        """Send a pong; unless OPEN, do nothing."""
        if self.state is _OPEN:
            self.write(frame(_PONG, data))

    def close(self, code: int | None = None, reason: str | None = None) -> bool:
        """Send our close; return whether it is the first.

        Raises ValueError for a reason of more than 123 bytes, and has then done nothing.
        """
        if self.state is not _OPEN:
            return False
        self.write(frame(_CLOSE, close_payload(code, reason)))
        self.state = _CLOSING
        return True

    def refuse(self, code: int, reason: str) -> None:
        """Send our close, unless it was sent, and read nothing more."""
        self.close(code, reason)
        self.state = State.DISCARDING

    # What the peer does

    def receive_close(self, close: Close) -> None:
        """Answer the peer's close with its own code, unless it answers ours."""
        self.close(close.code)
        self.peer_close = close
        self.state = State.FLUSHING

    def receive_end(self) -> None:
        """The peer has sent all it will, with or without a close."""
        self.state = State.FLUSHING

    def lose(self) -> None:
        """The connection is lost, or given up."""
        self.state = State.CLOSED


class Liveness:
    """Whether anybody is there. Times are in seconds, of any clock that only goes forward.

    Whatever a peer sends shows that it is there: one that talks now and then may answer no pings.
    But one that takes nothing of a backlog is gone, whatever it sends.
    """

    __slots__ = ("_backlog", "_pinged", "heard")

    def __init__(self) -> None:
        self.heard = 0.0
        """When anything came from the peer last."""
        self._pinged = 0.0
        # What the peer had yet to take at the last ping; 0 if that was little.
        self._backlog = 0

    def ping_sent(self, now: float, backlog: int) -> None:
        """`backlog` is how many bytes the peer has yet to take; 0 if that is little."""
        self._pinged = now
        self._backlog = backlog

    def backlog_taken(self) -> None:
        """The peer has taken most of it."""
        self._backlog = 0

    def forgive(self, now: float) -> None:
        """Count the peer as heard now: it could not be, until now."""
        self.heard = now
        self._backlog = 0

    def time_left(self, now: float, untaken: int, *, reads: bool, silence: float) -> float | None:
        """How much longer to wait for a sign of life; None if there was one since the ping.

        It is 0 or less when the peer counts as gone: after it was silent for `silence` seconds, or
        at once if it has taken nothing of its backlog. `untaken` is how many bytes it has yet to
        take now. While nothing is read (`reads`), no pong can be seen, and only that counts.
        """
        if 0 < self._backlog <= untaken:
            return 0.0
        if not reads or self.heard >= self._pinged:
            return None
        return self.heard + silence - now
