"""A connection after the handshake, straight on the event loop.

Tornado's own protocol reads through an `IOStream`, with a Future and several awaits per frame, and
makes a Task for each message that it writes: most of what it costs to pass a message on. Here the
event loop calls `data_received` with what has come, and writing a message is one call.
"""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, Protocol, cast

from tornado.concurrent import future_set_result_unless_cancelled
from tornado.escape import json_encode, utf8
from tornado.httputil import HTTPHeaders
from tornado.util import _websocket_mask
from tornado.websocket import (
    WebSocketClosedError,
    WebSocketHandler,
    WebSocketProtocol,
    WebSocketProtocol13,
)

from transport.frames import (
    Close,
    Event,
    FrameParser,
    Opcode,
    Ping,
    Pong,
    close_payload,
    frame,
)
from transport.handshake import key
from transport.listener import UpgradeConnection

# Seconds for a peer to answer a close; Tornado's own figure. Whoever takes some of what is to be
# sent meanwhile gets as long again, so that a slow reader comes to read the close.
CLOSE_TIMEOUT = 5.0

# Seconds after which even such a peer is dropped, or it could keep what waits for it in memory for
# ever by taking a byte now and then. For the 4 MiB that may wait it has to take 70 kB a second.
END_TIMEOUT = 60.0

# Seconds for which the messages of one peer are handled before the others have a turn: what a peer
# sends in one piece can cost a thousand times as much, when each message is passed to a full room.
TURN = 0.005

# Seconds for which the event loop reads on before a peer is dropped. If it stood still until now, a
# pong may have come that it has not got to.
GRACE = 0.01

# Seconds by which a timer is late when the whole process stood still: it was stopped or suspended,
# and perhaps the network with it. Then every peer has all of its time again, as if it were heard.
STANDSTILL = 1.0

# What a peer is closed with that is not heard any more. There is no code for it: this one says that
# something unexpected ended the connection, so that clients come back.
UNHEARD = 1011, "ping timeout"

if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ

# What a handler may raise that ends its connection and not the server.
_FAILURES = (Exception, asyncio.CancelledError)

_TEXT = int(Opcode.TEXT)
_BINARY = int(Opcode.BINARY)
_CLOSE = int(Opcode.CLOSE)
_PING = int(Opcode.PING)
_PONG = int(Opcode.PONG)


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


def unacknowledged(sock: _HasFileno) -> int:
    """Bytes that the kernel has yet to send, or that the peer's has not confirmed; 0 if unknown.

    That the kernel takes more again would show too late: it waits until a third of its buffer is
    free. By that alone, who reads 100 to 300 kB/s came to read 4 to 6 MB, and never the close.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            return int.from_bytes(ioctl(sock.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
    return 0


class Watched(WebSocketProtocol):
    """A protocol that finds out whether its peer is there, and does not wait for ever to end."""

    # How many bytes the peer had yet to take at the last ping; 0 unless it was much and still is.
    _backlog = 0
    # For the next ping or to look for what came of it; when closing, for the end.
    _timer: asyncio.TimerHandle | None = None
    # While a coroutine of the handler runs; while the peer does not take what is written.
    _busy = False
    _full = False
    # Once closing: when it is over at the latest.
    _ends: float | None = None

    def _init_watch(self, ping_interval: float, ping_timeout: float) -> None:
        """Times in seconds: 0 for no pings, or for not waiting for pongs."""
        self._loop = asyncio.get_running_loop()
        self._ping_interval = ping_interval
        self._ping_timeout = min(ping_timeout, ping_interval)
        # When the peer was pinged, and when anything came from it, as `perf_counter` has it.
        self._pinged = self._heard = 0.0

    def _untaken(self) -> int:
        """Bytes that the peer's system has not taken yet."""
        raise NotImplementedError

    def _give_up(self) -> None:
        """Closes the connection with `UNHEARD` and tells the handler that it is over."""
        raise NotImplementedError

    def start_pinging(self) -> None:
        self._heard = perf_counter()
        if self._ping_interval > 0:
            self._set_timer(self._ping_interval, self._ping)

    def _forgive_standstill(self) -> None:
        if self._timer is not None and self._loop.time() - self._timer.when() > STANDSTILL:
            self._heard = perf_counter()
            self._backlog = 0

    def _ping(self) -> None:
        self._forgive_standstill()
        self._pinged = perf_counter()
        self.write_ping(b"")
        self._backlog = self._untaken() if self._full else 0
        if self._ping_timeout > 0:
            self._set_timer(self._ping_timeout, self._check_pong)
        else:
            self._set_timer(self._ping_interval, self._ping)

    def _check_pong(self, last: bool = False) -> None:
        """Gives the peer up if it takes nothing, or was silent for an interval and a timeout.

        Whatever it sends will do: who talks now and then may answer no pings.
        """
        self._forgive_standstill()
        # While the handler is busy nothing is read, no pong either. But its peer can still take
        # what is written, which may be what the handler waits for.
        takes_nothing = 0 < self._backlog <= self._untaken()
        answered = self._busy or self._heard >= self._pinged
        rest = self._heard + self._ping_interval + self._ping_timeout - perf_counter()
        if answered and not takes_nothing:
            self._set_timer(self._ping_interval - self._ping_timeout, self._ping)
        elif rest > 0 and not takes_nothing:
            self._set_timer(rest, self._check_pong)
        elif last:
            self._give_up()
        else:
            self._set_timer(GRACE, self._check_pong, True)

    def _wait_for_end(self) -> None:
        """Aborts the connection if it does not end in time."""
        if self._ends is None:
            self._ends = self._loop.time() + END_TIMEOUT
        self._set_timer(CLOSE_TIMEOUT, self._check_end, self._untaken(), self._ends)

    def _check_end(self, untaken: int, ends: float) -> None:
        if self._untaken() < untaken and self._loop.time() < ends:
            self._wait_for_end()
        else:
            self._abort()

    def _set_timer(
        self, delay: float | None, callback: Callable[..., None] | None = None, *args: object
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay is not None and callback is not None:
            # uvloop's handles of timers for less than a millisecond do not say when they are due.
            self._timer = self._loop.call_later(max(delay, 0.001), callback, *args)


class LoopProtocol(Watched, asyncio.Protocol):
    """What `WebSocketHandler.get_websocket_protocol` returns, and what the event loop calls.

    Towards the handler it behaves as Tornado documents. While a coroutine `open` or `on_message`
    runs, the connection is not read and the handler not called again. `on_close` is called once,
    and only if `open` was. What the handler raises is logged and aborts the connection.

    Serves connections that a `Listener` accepted; `websocket_protocol` tells.
    """

    def __init__(
        self,
        handler: WebSocketHandler,
        max_message_size: int,
        ping_interval: float,
        ping_timeout: float,
    ) -> None:
        """Sizes in bytes, times in seconds: 0 for no pings, or for not waiting for pongs."""
        super().__init__(handler)
        self._init_watch(ping_interval, ping_timeout)
        self._transport: asyncio.Transport | None = None
        self._parser = FrameParser(max_message_size, _websocket_mask)
        self._subprotocol: str | None = None
        # While the handler is busy: what came behind the message that it is about.
        self._behind: list[Event] = []
        # While the peer does not take what is written: who waits for it to, and the last pong.
        self._flushing: list[asyncio.Future[None]] = []
        self._unsent_pong: bytes | None = None
        # How the peer closed; whether it has sent all, whether it is over, and the handler knows.
        self._peer_close = Close(None, None)
        self._at_eof = False
        self._over = False
        self._told = False

    # The handshake

    async def accept_connection(self, handler: WebSocketHandler) -> None:
        """Answers the request and hands the connection to the event loop."""
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
        self._transport = transport
        self.start_pinging()
        self._call(handler.open, *handler.open_args, **handler.open_kwargs)
        if early:
            self.data_received(early)
        if not self._busy and not transport.is_closing():
            transport.resume_reading()

    # What the event loop calls

    def data_received(self, data: bytes) -> None:
        events = self._parser.feed(data)
        if self._busy:
            self._pause_reading()
            self._behind += events
        else:
            self._handle(events)

    def eof_received(self) -> bool:
        """The peer has sent all it will. It is still sent what it is owed, then comes the end."""
        if self._busy:
            self._at_eof = True
        else:
            self._finish()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._terminate()
        self._set_timer(None)
        flushing, self._flushing = self._flushing, []
        for future in flushing:
            if not future.done():
                future.set_exception(WebSocketClosedError())
                future.exception()  # Nobody has to look at it.
        self._end()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._backlog = 0
        flushing, self._flushing = self._flushing, []
        for future in flushing:
            future_set_result_unless_cancelled(future, None)
        pong, self._unsent_pong = self._unsent_pong, None
        if pong is not None:
            self._send_pong(pong)

    # Reading

    def _handle(self, events: list[Event]) -> None:
        self._heard = now = perf_counter()
        turn_ends = now + TURN
        for position, event in enumerate(events, 1):
            if self.client_terminated:
                return
            if isinstance(event, (str, bytes)):
                try:
                    running = self.handler.on_message(event)
                except _FAILURES:
                    self._fail()
                    return
                if running is not None:
                    self._wait_for(running)
            elif isinstance(event, Ping):
                self._send_pong(event.data)
                self._call(self.handler.on_ping, event.data)
            elif isinstance(event, Pong):
                self._call(self.handler.on_pong, event.data)
            elif isinstance(event, Close):
                self._on_close(event)
            else:
                self._dismiss(*event)
            if self._busy:
                self._behind = events[position:]
                return
            if position < len(events) and perf_counter() > turn_ends:
                self._behind = events[position:]
                self._busy = True
                self._loop.call_soon(self._resume)
                return

    def _call(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        try:
            done = self._run_callback(callback, *args, **kwargs)
        except Exception:  # What it returned cannot be awaited.
            self._fail()
            return
        if done is not None:
            self._busy = True
            self._pause_reading()
            done.add_done_callback(self._resume)

    def _wait_for(self, running: Awaitable[None]) -> None:
        self._call(lambda: running)

    def _fail(self) -> None:
        """Logs what is being raised, and ends the connection."""
        self.handler.log_exception(*sys.exc_info())
        self._abort()

    def _resume(self, _: object = None) -> None:
        self._busy = False
        behind, self._behind = self._behind, []
        self._handle(behind)
        if self._busy:
            return
        if self._over:
            self._end()
        elif self._at_eof:
            self._finish()
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _on_close(self, close: Close) -> None:
        self.client_terminated = True
        self._peer_close = close
        self.close(close.code)
        self._finish()

    def _dismiss(self, code: int, reason: str) -> None:
        """Closes the connection for good: the handler need not wait until it is over."""
        self.client_terminated = True
        self.close(code, reason)
        # Not closed at once: closing with something unread resets the connection, and the peer
        # would not see the code. What it still sends is thrown away until it closes too.
        if self._transport is not None:
            self._transport.write_eof()
        self._end()

    # Writing

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the operating system has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def write_text(self, text: bytes) -> None:
        """Writes a text message that is UTF-8 already; once closing, does nothing.

        What `write_message` does besides is a tenth of what it costs to pass a message on.
        """
        if not (self.server_terminated or self.client_terminated or self._transport is None):
            self._transport.write(frame(_TEXT, text))

    def write_message(
        self, message: str | bytes | dict[str, Any], binary: bool = False
    ) -> "asyncio.Future[None]":
        """Writes in order, at once, and never too much: what bounds it is asking `unsent` first.

        The Future is done unless much is unsent; then it is when most of that has been taken.
        Raises WebSocketClosedError, and the Future does if the connection is lost first.
        """
        if self._transport is None or self.is_closing():
            raise WebSocketClosedError()
        if isinstance(message, dict):
            message = json_encode(message)
        self._transport.write(frame(_BINARY if binary else _TEXT, utf8(message)))
        written: asyncio.Future[None] = self._loop.create_future()
        if self._full:
            self._flushing.append(written)
        else:
            written.set_result(None)
        return written

    def write_ping(self, data: bytes) -> None:
        """Raises ValueError for more than 125 bytes."""
        if len(data) > 125:
            raise ValueError("control frame payloads may not exceed 125 bytes")
        if self._transport is not None:
            self._transport.write(frame(_PING, data))

    def _send_pong(self, data: bytes) -> None:
        """Answers a ping; while the peer does not read, just the last (RFC 6455, section 5.5.3)."""
        if self._full:
            self._unsent_pong = data
        elif self._transport is not None and not self.server_terminated:
            self._transport.write(frame(_PONG, data))

    def set_nodelay(self, x: bool) -> None:
        connection = None if self._transport is None else self._transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):  # On macOS, if it was reset; that is told of soon.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(x))

    # Is anybody there?

    def _untaken(self) -> int:
        if self._transport is None:
            return 0
        return self.unsent + unacknowledged(self._transport.get_extra_info("socket"))

    def _give_up(self) -> None:
        if self._busy:
            # It has taken nothing, no close either; and the handler may be waiting for it.
            self._abort()
        else:
            self._dismiss(*UNHEARD)

    # The end

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Sends the close and gives the peer five seconds to answer it, more while it is reading.

        Raises ValueError for a reason of more than 123 bytes, and has then done nothing.
        """
        if self.server_terminated:
            return
        payload = close_payload(code, reason)
        self.server_terminated = True
        if self._transport is not None:
            self._transport.write(frame(_CLOSE, payload))
            self._wait_for_end()

    def abort(self) -> None:
        """Ends the connection at once; the handler is told before this returns."""
        self._abort()

    def is_closing(self) -> bool:
        return self.client_terminated or self.server_terminated

    def on_connection_close(self) -> None:
        """Called by the handler when it is told that the connection is over: nothing is left."""

    def _finish(self) -> None:
        """Closes the connection once all is sent, for which it waits as `close` does."""
        self._terminate()
        self._wait_for_end()
        if self._transport is not None:
            self._transport.close()
        self._end()

    def _abort(self) -> None:
        self._terminate()
        self._set_timer(None)
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def _terminate(self) -> None:
        self.client_terminated = self.server_terminated = True

    def _end(self) -> None:
        """Tells the handler that it is over: once, and not while it is busy."""
        self._over = True
        if self._busy or self._told:
            return
        self._told = True
        try:
            self.handler.on_ws_connection_close(*self._peer_close)
        except _FAILURES:
            self.handler.log_exception(*sys.exc_info())

    # For Tornado's WebSocket clients, which have a protocol of their own.

    def _process_server_headers(self, key: str | bytes, headers: HTTPHeaders) -> None:
        raise NotImplementedError

    async def _receive_frame_loop(self) -> None:
        raise NotImplementedError
