"""Connects a Tornado handler to the event loop: moves bytes, calls the handler, keeps the time.

Tornado's own protocol reads through an `IOStream`, with a Future and several awaits per frame, and
makes a Task for each message that it writes: most of what it costs to pass a message on. Here the
event loop calls `data_received` with what has come, and writing a message is one call.
`transport.connection` decides what may be sent when, and how a connection ends.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, NamedTuple, cast

from tornado.concurrent import future_set_result_unless_cancelled
from tornado.escape import json_encode, utf8
from tornado.websocket import WebSocketClosedError, WebSocketHandler, WebSocketProtocol13

from transport.connection import UNHEARD, Connection, Limits, State
from transport.frames import Close, Event, FrameParser, Ping, Pong
from transport.handshake import key
from transport.listener import UpgradeConnection
from transport.private import HandlerProtocol, unmask
from transport.shared import Shared
from transport.timekeeper import Timekeeper, acknowledged, unacknowledged
from transport.turns import BURST, MAX_CHARGE, MAX_DEBT, QUANTUM, READ, SHARE


class Received(NamedTuple):
    """What has come of a connection and is not handled, and what its peer has used up."""

    events: Sequence[Event]
    data: bytes
    """What came after those."""
    time_left: float
    """The peer's account in seconds; see `transport.turns`."""
    paid: float
    """When the peer will have paid for what it has sent; see `transport.throttle`."""


AT_A_TIME = 8 * 1024
"""Bytes that are parsed at once without looking at the clock. The offer of a browser is less."""

SLICE = 2048
"""The same where others wait for it, unless a frame is longer: 340 empty frames take 0.1 ms."""

CHUNK = 128 * 1024
"""Bytes that are handed to the transport at once of what was kept for a peer that is behind. Since
it calls `resume_writing` when most of that is taken, a peer that takes this much now and then is
seen to be there."""

# As a global: looking up a member of an Enum costs more than comparing with it.
_OPEN = State.OPEN

# Exceptions of a handler that end its connection but not the server.
_FAILURES = (Exception, asyncio.CancelledError)


def _discard(data: bytes) -> None:
    """Stand in for `transport.write` while there is no transport."""


class LoopProtocol(Timekeeper, HandlerProtocol, asyncio.Protocol):
    """What `WebSocketHandler.get_websocket_protocol` returns, and what the event loop calls.

    Towards the handler it behaves as Tornado documents. While a coroutine `open` or `on_message`
    runs, the connection is not read and the handler not called again, except that its `on_gone`, if
    it has one, is called when the peer is gone. `on_close` is called once, and only if `open` was.
    What the handler raises is logged and aborts the connection.

    It serves connections that a `Listener` accepted (see `websocket_protocol`).
    """

    # Attributes of the class for values that rarely change: they cost an idle connection nothing.
    _subprotocol: str | None = None
    _busy = False
    """Whether what comes has to wait: for a coroutine of the handler, or for the peer's turn."""
    _awaits_turn = False
    """Whether it is the peer's turn for which it has to wait."""
    _pending: Sequence[Event] = ()
    """Events that wait."""
    _unread: bytes | memoryview = b""
    """Data that came after those and is not parsed yet."""
    _ended = False
    """Whether the peer's stream ended after that."""
    _time_left = 0.0
    """Seconds that the peer may use before it has to wait for its turn; see `transport.turns`."""
    _paid = float("-inf")
    """When it will have paid for what it sent, by the loop's clock; see `transport.throttle`."""
    _outbox: bytearray | None = None
    """What was written and is kept back: because the peer is behind, or by `transport.writes`. None
    if what is written goes to the transport."""
    _write_paused = False
    """Whether the peer is behind: what the transport was given is not taken yet."""
    _drain_waiters: list[asyncio.Future[None]] | None = None
    """Futures of messages that count as written when that has been taken."""
    _last_pong: bytes | None = None
    """The pong to send when that has been taken."""
    _handler_told = False
    """Whether the handler has been told that the connection is over."""

    def __init__(self, handler: WebSocketHandler, limits: Limits, shared: Shared) -> None:
        super().__init__(handler)
        self.start_keeping_time(limits)
        self._buffers, self._turns, self._writes = shared.buffers, shared.turns, shared.writes
        self._transport: asyncio.Transport | None = None
        self._parser = FrameParser(limits.max_message_size, unmask)
        self._connection = Connection(_discard)

    # The handshake

    async def accept_connection(self, handler: WebSocketHandler) -> None:
        """Answer the request and hand the connection to the event loop."""
        headers = handler.request.headers
        names = headers.get("Sec-WebSocket-Protocol", "").split(",")
        offered = [name.strip() for name in names if name.strip()]
        self._subprotocol = handler.select_subprotocol(offered)
        if self._subprotocol:
            if self._subprotocol not in offered:
                raise ValueError(f"subprotocol {self._subprotocol!r} was not offered")
            handler.set_header("Sec-WebSocket-Protocol", self._subprotocol)
        handler.clear_header("Content-Type")
        handler.set_status(101)
        handler.set_header("Upgrade", "websocket")
        handler.set_header("Connection", "Upgrade")
        accept = WebSocketProtocol13.compute_accept_value(key(headers))
        handler.set_header("Sec-WebSocket-Accept", accept)
        handler.finish()
        connection = cast(UpgradeConnection, handler.request.connection)
        transport, early = connection.take()
        if self.is_closing() or transport.is_closing():
            transport.abort()
        else:
            transport.set_protocol(self)
            self._start(handler, transport, early)

    @property
    def selected_subprotocol(self) -> str | None:
        return self._subprotocol

    def _start(self, handler: WebSocketHandler, transport: asyncio.Transport, early: bytes) -> None:
        self._begin(handler, transport)
        if early:
            self.data_received(early)
        if not self._busy:
            self._resume_reading()

    def _begin(self, handler: WebSocketHandler, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._connection.write = transport.write
        self.start_pinging()
        self._call(handler.open, *handler.open_args, **handler.open_kwargs)

    # To and from another process

    async def drained(self) -> None:
        """Wait until the operating system has taken all that was written.

        Raises WebSocketClosedError if the connection is lost before.
        """
        while self._transport is not None and self.unsent:
            self._write_out()
            self._transport.set_write_buffer_limits(high=0)
            if self._write_paused:
                taken: asyncio.Future[None] = self._loop.create_future()
                self._drain_waiters = [*(self._drain_waiters or ()), taken]
                await taken
        if self._transport is None or self.is_closing():
            raise WebSocketClosedError

    def give_away(self) -> tuple[socket.socket, Received]:
        """Return the socket, and what has come and is not handled. Raises WebSocketClosedError.

        Here the connection is over when this returns, though not for the peer. What was written
        must be `drained`.
        """
        if self._transport is None or self.is_closing():
            raise WebSocketClosedError
        # Another descriptor, since the transport closes its own.
        sock = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))
        data = self._parser.unfinished() + self._unread
        received = Received(self._pending, data, self._time_left, self._paid)
        self._busy = False  # For the handler is to be told.
        self.abort()
        return sock, received

    def resume(self, received: Received) -> None:
        """Go on, from `connection_made` on, with a connection that was given away elsewhere."""
        self._pending, self._unread, self._time_left, self._paid = received

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with a connection that was given away elsewhere; others are accepted."""
        self._begin(cast(WebSocketHandler, self.handler), cast(asyncio.Transport, transport))
        if not self._busy:
            self._go_on(perf_counter() + QUANTUM)
        if self._busy or self._parser.held:
            self._hold()

    def data_received(self, data: bytes) -> None:
        if self._busy:
            if self._connection.is_reading:
                self._pause_reading()
                self._unread = bytes(self._unread) + data
                self._buffers.count(self)
            return
        liveness = self._liveness
        now = perf_counter()
        time_left = self._time_left + (now - liveness.heard) * SHARE
        if time_left > BURST:
            time_left = BURST
        liveness.heard = now
        turns = self._turns
        if time_left > 0.0 and turns.left > 0.0:
            end = now + time_left
            if len(data) <= AT_A_TIME:
                self._handle(self._parser.feed(data), end)
            else:
                self._read(data, end)
                now -= READ
            used = perf_counter() - now
            turns.left -= used
            self._time_left = time_left - (used if used < MAX_CHARGE else MAX_CHARGE)
        else:
            self._time_left = time_left
            if self._connection.is_reading:
                self._unread = data
                self._needs_turn()
            else:
                self._pause_reading()  # What is discarded has to wait for everybody.
                turns.wait(-MAX_DEBT, len(data), self._read_on)
        if self._busy or self._parser.held:
            self._hold()

    def eof_received(self) -> bool:
        """Take note that the peer sends nothing more. Pending data is still sent to it."""
        if self._busy:
            self._ended = True
            if not self._pending and not self._unread:
                self._tell_that_gone()
        else:
            self._turns.once(self._end)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_timer(None)
        waiters, self._drain_waiters = self._drain_waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_exception(WebSocketClosedError())
                waiter.exception()  # Marks it as seen: it may not be awaited.
        self._lose()
        if self._busy:
            self._tell_that_gone()
        self._turns.once(self._tell_handler)

    def pause_writing(self) -> None:
        """Keep what is written from now on here, where it takes up no more than its size."""
        self._write_paused = True
        if self._outbox is None:
            self._outbox = bytearray()
        self._connection.write = self._keep
        self._buffers.count(self)

    def resume_writing(self) -> None:
        self._write_paused = False
        self._liveness.backlog_taken()
        if self._transport is not None:
            self._transport.set_write_buffer_limits()  # `_backlog` may have changed them.
        self._write_out()
        if self._write_paused:
            return
        waiters, self._drain_waiters = self._drain_waiters, None
        for waiter in waiters or ():
            future_set_result_unless_cancelled(waiter, None)
        pong, self._last_pong = self._last_pong, None
        if pong is not None:
            self._connection.send_pong(pong)

    # Reading

    def _read(self, data: bytes | memoryview, end: float, piece: int = SLICE) -> None:
        """Parse data and handle what is in it, until the handler is busy or it is time to end."""
        parser = self._parser
        rest = memoryview(data)
        while rest:
            if self._busy:
                self._unread = rest
                return
            size = max(piece, parser.end_of_frame(rest))
            self._handle(parser.feed(bytes(rest[:size])), end)
            rest = rest[size:]
            if rest and not self._busy and perf_counter() > end:
                self._needs_turn()

    def _handle(self, events: Sequence[Event], end: float) -> None:
        """Handle events in order, until the handler is busy or it is time to end."""
        connection = self._connection
        for position, event in enumerate(events, 1):
            # The state is compared first because it is OPEN nearly always, and that costs less.
            if connection.state is not _OPEN and not connection.is_reading:
                return
            if isinstance(event, (str, bytes)):
                try:  # As in `_call`, which would cost 0.2 µs more.
                    running = self.handler.on_message(event)
                except _FAILURES:
                    self._fail()
                    return
                if running is not None:
                    self._await(running)
            elif isinstance(event, Ping):
                self._answer_ping(event.data)
                self._call(self.handler.on_ping, event.data)
            elif isinstance(event, Pong):
                self._call(self.handler.on_pong, event.data)
            elif isinstance(event, Close):
                connection.receive_close(event)
                self._flush()
            else:
                self.refuse(*event)
            if position < len(events):
                if not self._busy and perf_counter() > end:
                    self._needs_turn()
                if self._busy:
                    self._pending = events[position:]
                    return

    def _end(self) -> None:
        """Take the peer's end, which matters while its messages do or while it is awaited."""
        if self._connection.is_reading or self._connection.state is State.DISCARDING:
            self._connection.receive_end()
            self._flush()

    def _end_if_ended(self) -> None:
        """Take the peer's end if it came before and nothing has to wait any more."""
        if self._ended and not self._busy:
            self._ended = False
            self._end()

    def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call the handler. Nothing is read until what it returns, if awaitable, is done."""
        try:
            done = self.call_handler(method, *args, **kwargs)
        except Exception:  # What it returned cannot be awaited.
            self._fail()
            return
        if done is not None:
            # Reading goes on until something comes, since a peer that is lost should be seen to be.
            self._busy = True
            done.add_done_callback(self._continue)

    def _await(self, running: Awaitable[None]) -> None:
        self._call(lambda: running)

    def _continue(self, _: object) -> None:
        """Go on when the handler is done."""
        if self._connection.is_reading and (self._pending or self._unread):
            # In its turn: very many may be done in one iteration of the event loop.
            self._awaits_turn = True
            self._hold()
            return
        self._go_on(perf_counter() + QUANTUM)
        if self._busy or self._parser.held:
            self._hold()

    def _needs_turn(self) -> None:
        """Handle nothing more until the peer has had its turn, for which `_hold` has it wait."""
        self._busy = self._awaits_turn = True

    def _hold(self) -> None:
        """Take note of what has come and is not handled yet."""
        if self._awaits_turn:
            size = len(self._unread) + self._parser.missing
            self._turns.wait(self._time_left, size, self._take_turn)
            if size > AT_A_TIME:
                # There is much more to come. Of others it is better to see if they are lost.
                self._pause_reading()
            elif not self._pending:
                return  # It is too little to be counted.
        self._buffers.count(self)

    def _take_turn(self, end: float) -> None:
        if not self._awaits_turn:
            return  # The connection was lost meanwhile.
        self._awaits_turn = False
        # The time that it waited does not count as time in which it left others theirs.
        self._liveness.heard = now = perf_counter()
        self._go_on(end, AT_A_TIME if self._time_left < 0.0 else SLICE)
        used = perf_counter() - now
        left = self._time_left - (used if used < MAX_CHARGE else MAX_CHARGE)
        self._time_left = left if left > -MAX_DEBT else -MAX_DEBT
        if self._busy or self._parser.held:
            self._hold()

    def _go_on(self, end: float, piece: int = SLICE) -> None:
        """Handle what has come in the meantime."""
        self._busy = False
        events, self._pending = self._pending, ()
        self._handle(events, end)
        if self._unread and not self._busy:
            data, self._unread = self._unread, b""
            if self._connection.is_reading:
                if len(data) <= piece:
                    self._handle(self._parser.feed(bytes(data)), end)
                else:
                    self._read(data, end, piece)
        self._end_if_ended()
        if not self._busy:
            self._resume_reading()
            if not self._connection.is_reading:
                self._tell_handler()

    def _read_on(self, end: float) -> None:
        """Read more of what is discarded."""
        self._resume_reading()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # Writing

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the operating system has not taken yet."""
        if self._transport is None:
            return 0
        kept = 0 if self._outbox is None else len(self._outbox)
        return self._transport.get_write_buffer_size() + kept

    @property
    def buffered(self) -> int:
        """Bytes in memory that are unsent, not handled yet or half received."""
        size = self.unsent + self._parser.held + len(self._unread)
        if self._pending:
            # A ping or a pong is a small object; its data is 125 bytes at most.
            size += sum(
                len(event) if isinstance(event, (str, bytes)) else 100 for event in self._pending
            )
        return size

    def write_text(self, text: bytes) -> None:
        """Write a text message that is UTF-8 already; do nothing once closing.

        What `write_message` does besides would add a tenth to the cost of a relay.
        """
        self._connection.send_text(text)

    def write_later(self, text: bytes) -> None:
        """Write a text message that very many peers are sent; see `transport.writes`."""
        if self._outbox is None and self._transport is not None:
            self._outbox = bytearray()
            self._connection.write = self._outbox.extend
            self._writes.wait(self._write_out)
        self._connection.send_text(text)

    def write_message(
        self, message: str | bytes | dict[str, Any], binary: bool = False
    ) -> "asyncio.Future[None]":
        """Write a message, in order and without a bound: for one, look at `unsent` first.

        It is written at once, or after what `write_later` has yet to write. The Future is done
        already, unless much is unsent: then it is done when most of that has been taken. Raises
        WebSocketClosedError, as does the Future if the connection is lost first.
        """
        if self._transport is None or self.is_closing():
            raise WebSocketClosedError()
        if isinstance(message, dict):
            message = json_encode(message)
        send = self._connection.send_binary if binary else self._connection.send_text
        send(utf8(message))
        written: asyncio.Future[None] = self._loop.create_future()
        if self._write_paused:
            self._drain_waiters = self._drain_waiters or []
            self._drain_waiters.append(written)
        else:
            written.set_result(None)
        return written

    def write_ping(self, data: bytes) -> None:
        """Write a ping. Raises ValueError for more than 125 bytes."""
        self._connection.send_ping(data)

    def _answer_ping(self, data: bytes) -> None:
        """Send a pong; while the peer does not read, keep the last (RFC 6455, section 5.5.3)."""
        if self._write_paused:
            self._last_pong = data
        else:
            self._connection.send_pong(data)

    def _keep(self, frame: bytes) -> None:
        """Take the place of `transport.write` while the peer is behind."""
        if self._outbox is not None:
            self._outbox += frame
            self._buffers.count(self)

    def _write_out(self) -> None:
        """Hand what was kept back to the transport, until that has much to do."""
        transport, outbox = self._transport, self._outbox
        if transport is None or outbox is None:
            return
        while outbox and not self._write_paused:
            chunk = outbox[:CHUNK]
            del outbox[:CHUNK]
            transport.write(chunk)
        if not self._write_paused:
            self._outbox = None
            self._connection.write = transport.write

    def _write_rest(self) -> None:
        """Hand all that was kept back to the transport, which is to be closed."""
        outbox, self._outbox = self._outbox, None
        if outbox and self._transport is not None:
            self._transport.write(outbox)

    def set_nodelay(self, x: bool) -> None:
        connection = None if self._transport is None else self._transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):  # macOS, after a reset; `connection_lost` comes soon.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(x))

    # What the timekeeper asks for

    def _untaken(self) -> int:
        if self._transport is None:
            return 0
        return self.unsent + unacknowledged(self._transport.get_extra_info("socket"))

    def _acknowledged(self) -> int | None:
        if self._transport is None:
            return None
        return acknowledged(self._transport.get_extra_info("socket"))

    def _backlog(self) -> int:
        transport = self._transport
        if transport is None:
            return 0
        if not self._write_paused and transport.get_write_buffer_size():
            # It is little, of which the transport would not tell whether it was taken.
            transport.set_write_buffer_limits(high=0)
        return self._untaken() if self._write_paused else 0

    def _is_reading(self) -> bool:
        # Nothing is read while the handler is busy. It may be waiting for the peer to take data.
        return not self._busy

    # The end

    def is_closing(self) -> bool:
        return self._connection.state is not State.OPEN

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Send the close and give the peer time to answer it; more if it keeps reading.

        Raises ValueError for a reason of more than 123 bytes, and has done nothing then.
        """
        if self._connection.close(code, reason) and self._transport is not None:
            self._wait_for_end()

    def abort(self) -> None:
        """End the connection at once. A handler that is not busy is told before this returns."""
        self._set_timer(None)
        if self._transport is not None:
            self._transport.abort()
        self._lose()
        self._tell_handler()

    def _lose(self) -> None:
        """Take note that the connection is lost, and forget all that waits with it."""
        self._connection.lose()
        self._stop_reading()
        self._outbox = None
        self._connection.write = _discard
        self._buffers.discard(self)

    def _stop_reading(self) -> None:
        """Read nothing more, and give up what waits."""
        self._parser.stop()
        self._pending, self._unread = (), b""
        if self._awaits_turn:
            self._awaits_turn = self._busy = False

    def _fail(self) -> None:
        """Log the exception that is being handled, and end the connection."""
        self.handler.log_exception(*sys.exc_info())
        self.abort()

    def _give_up(self) -> None:
        if self._busy:
            # The peer takes nothing, a close neither, and the handler may be waiting for it.
            self.abort()
        else:
            self.refuse(*UNHEARD)

    def refuse(self, code: int, reason: str) -> None:
        """Close the connection, and tell the handler without waiting until it is over.

        What the peer sends is still read: a connection that ends with something unread is reset,
        and the peer would not see the code.
        """
        self._connection.refuse(code, reason)
        self._stop_reading()
        self._wait_for_end()
        if self._transport is not None:
            self._write_rest()
            self._transport.write_eof()
            self._resume_reading()
        self._end_if_ended()
        self._tell_handler()

    def _flush(self) -> None:
        """End the connection when all is sent; the time for that is limited as in `close`."""
        self._wait_for_end()
        if self._transport is not None:
            self._write_rest()
            self._transport.close()
        self._tell_handler()

    def _tell_handler(self) -> None:
        """Tell the handler that the connection is over: once, and not while it is busy."""
        if self._busy or self._handler_told:
            return
        self._handler_told = True
        try:
            self.handler.on_ws_connection_close(*self._connection.peer_close)
        except _FAILURES:
            self.handler.log_exception(*sys.exc_info())

    def _tell_that_gone(self) -> None:
        """Tell a busy handler that wants to know it that the peer is gone and waits for nothing."""
        on_gone = getattr(self.handler, "on_gone", None)
        if on_gone is not None:
            on_gone()

    def on_connection_close(self) -> None:
        """Do nothing: the handler calls this when it is told, and nothing is left to do then."""
