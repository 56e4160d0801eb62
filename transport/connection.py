"""A WebSocket connection after the handshake, as a state machine (RFC 6455, sections 5 to 7).

It has no socket, no event loop and no clock. What it sends goes to `write`, which in a test can be
the `append` of a list, and its owner tells it the time.
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
"""The close for a peer that is silent for too long. No code is meant for that; this one says that
something unexpected ended the connection, and clients reconnect after it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a connection: sizes in bytes, times in seconds, each with what it is for."""

    max_message_size: int
    """For a message from the peer; a longer one closes the connection with 1009."""
    ping_interval: float
    """Between two pings; 0 for none. Also for the peer's system to acknowledge something of what it
    has yet to acknowledge."""
    ping_timeout: float
    """For the pong, at most `ping_interval`; 0 if there is no need for one."""
    close_timeout: float = 5.0
    """For the peer to answer a close; Tornado's own figure. A peer that has taken some of what is
    unsent by then is given as long again, so that a slow reader gets to the close."""
    end_timeout: float = 60.0
    """For everything after a close. Otherwise a peer that takes a byte now and then could keep the
    unsent data in memory for ever. Reading 4 MiB in this time takes 70 kB/s."""
    grace: float = 0.01
    """For reading on before a peer is given up. If the event loop was held up until now, a pong may
    have come that it has not read yet."""
    standstill: float = 1.0
    """For which a timer must be late to show that the whole process stood still: it was stopped or
    suspended, perhaps together with the network. Then every peer has all of its time again."""
    byte_rate: int = 0
    """Bytes a second from the peer; 0 for any number. Beyond that, it is read slower
    (transport.throttle)."""


class State(Enum):
    """How close a connection is to its end (RFC 6455, section 7).

    OPEN ── close() ─────────────────> CLOSING
      │                                   │
      ├── refuse(): the peer broke the ───┤
      │   protocol, or is silent          ├──> DISCARDING
      │                                   │        │ receive_end()
      ├── receive_close(), receive_end() ─┴────────┴──> FLUSHING
      │
      └── lose(), from any state, for good ───────────> CLOSED
    """

    OPEN = auto()
    """Both sides may send messages."""
    CLOSING = auto()
    """Our close is sent. What the peer sends is read until it closes too."""
    DISCARDING = auto()
    """Our close is sent. What the peer sends is discarded until its stream ends."""
    FLUSHING = auto()
    """The peer sends nothing more. Pending data is still sent; then the connection closes."""
    CLOSED = auto()
    """Nothing is sent or read any more."""


# As globals: looking up a member of an Enum costs more than comparing with it.
_OPEN: Final = State.OPEN
_CLOSING: Final = State.CLOSING

_NO_CLOSE: Final = Close(None, None)


class Connection:
    """The state of a connection: what may be sent in it, and which comes next."""

    __slots__ = ("peer_close", "state", "write")

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.write = write
        self.state = State.OPEN
        self.peer_close = _NO_CLOSE
        """The peer's close; without a code if it gave none or has not closed."""

    @property
    def is_reading(self) -> bool:
        """Whether what the peer sends is still read."""
        return self.state is _OPEN or self.state is _CLOSING

    # What this side sends

    def send_text(self, text: bytes) -> None:
        """Send a text message that is UTF-8 already; do nothing unless OPEN."""
        if self.state is _OPEN:
            self.write(frame(_TEXT, text))

    def send_binary(self, data: bytes) -> None:
        """Send a binary message; do nothing unless OPEN."""
        if self.state is _OPEN:
            self.write(frame(_BINARY, data))

    def send_ping(self, data: bytes) -> None:
        """Send a ping; do nothing unless OPEN. Raises ValueError for more than 125 bytes."""
        if len(data) > 125:
            raise ValueError("control frame payloads may not exceed 125 bytes")
        if self.state is _OPEN:
            self.write(frame(_PING, data))

    def send_pong(self, data: bytes) -> None:
        """Send a pong; do nothing unless OPEN."""
        if self.state is _OPEN:
            self.write(frame(_PONG, data))

    def close(self, code: int | None = None, reason: str | None = None) -> bool:
        """Send our close; return False if that was done before.

        Raises ValueError for a reason of more than 123 bytes, and has done nothing then.
        """
        if self.state is not _OPEN:
            return False
        self.write(frame(_CLOSE, close_payload(code, reason)))
        self.state = _CLOSING
        return True

    def refuse(self, code: int, reason: str) -> None:
        """Send our close if it has not been sent, and discard what the peer sends from now on."""
        self.close(code, reason)
        if self.is_reading:
            self.state = State.DISCARDING

    # What the peer does

    def receive_close(self, close: Close) -> None:
        """Take the peer's close, and answer it with its own code unless it answers ours."""
        self.close(close.code)
        if self.is_reading:
            self.peer_close = close
            self.state = State.FLUSHING

    def receive_end(self) -> None:
        """Take note that the peer sends nothing more: its TCP stream has ended."""
        if self.state is not State.CLOSED:
            self.state = State.FLUSHING

    def lose(self) -> None:
        """Take note that the connection is lost, or given up."""
        self.state = State.CLOSED


class Liveness:
    """Judges whether a peer is still there. Times are seconds of any clock that only goes forward.

    Whatever a peer sends shows that it is there; it need not answer pings then. But a peer that
    takes nothing of its backlog is gone, whatever it sends, and so is one whose system acknowledges
    nothing of what it has yet to acknowledge: the peer's program does not read, and what the system
    keeps for it is full.
    """

    __slots__ = ("_acknowledged", "_backlog", "_pinged", "_progress", "heard")

    def __init__(self) -> None:
        self.heard = 0.0
        """When something last came from the peer."""
        self._pinged = 0.0
        # What the peer had yet to take at the last ping; 0 if that was little.
        self._backlog = 0
        # What the peer's system had acknowledged at the last look, and when it was first seen to
        # have acknowledged that; None if there was nothing left to acknowledge.
        self._acknowledged: int | None = None
        self._progress = 0.0

    def looked(self, now: float, acknowledged: int | None) -> None:
        """Take note of how many bytes the peer's system has acknowledged since the beginning.

        None stands for a peer that has nothing left to acknowledge, or of which it is not known.
        """
        if acknowledged is None or acknowledged != self._acknowledged:
            self._acknowledged = acknowledged
            self._progress = now

    def ping_sent(self, now: float, backlog: int) -> None:
        """Take note of a ping. `backlog` is how many bytes the peer has yet to take; 0 if few."""
        self._pinged = now
        self._backlog = backlog

    def backlog_taken(self) -> None:
        """Take note that the peer has taken most of its backlog."""
        self._backlog = 0

    def forgive(self, now: float) -> None:
        """Count the peer as heard now, since nothing could be heard until now."""
        self.heard = now
        self._backlog = 0
        self._acknowledged = None

    def time_left(
        self, now: float, untaken: int, *, reads: bool, silence: float, stall: float
    ) -> float | None:
        """Return the seconds left for a sign of life, or None if there was one since the ping.

        They are 0 or less if the peer counts as gone: after `silence` seconds of silence; after
        `stall` seconds in which its system has acknowledged nothing of what it has yet to
        acknowledge, which counts from a look before this one; or at once if it has taken nothing of
        its backlog. `untaken` is how many bytes it has yet to take now. While nothing is read
        (`reads` is false) no pong can be seen, and what the peer takes alone counts.
        """
        if 0 < self._backlog <= untaken:
            return 0.0
        ends: list[float] = []
        if reads and self.heard < self._pinged:
            ends.append(self.heard + silence)
        if self._acknowledged is not None and self._progress < now:
            ends.append(self._progress + stall)
        return min(ends) - now if ends else None
