"""Pings peers and limits the time that closing takes, for both protocols."""

import asyncio
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Protocol

from tornado.websocket import WebSocketProtocol

from transport.connection import Limits, Liveness

if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ


_ACKNOWLEDGED = slice(120, 128)
"""Where Linux has `tcpi_bytes_acked` in `struct tcp_info`, which was shorter before version 4.1."""


class _Socket(Protocol):
    def fileno(self) -> int: ...
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


def unacknowledged(sock: _Socket) -> int:
    """Return the bytes that the kernel has not sent, or the peer's not confirmed; 0 if unknown.

    Whether the kernel takes more would show too late, since it waits until a third of its buffer is
    free: a peer that reads 100 kB/s would be dropped although it keeps reading.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            return int.from_bytes(ioctl(sock.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
    return 0


def acknowledged(sock: _Socket) -> int | None:
    """Return the bytes that the peer's system has confirmed since the beginning; None if unknown.

    Only Linux tells, and only for TCP. It shows that a peer takes nothing even if the kernel still
    takes all that is written, so that no backlog is to be seen here.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.stop)
            if len(info) == _ACKNOWLEDGED.stop:
                return int.from_bytes(info[_ACKNOWLEDGED], sys.byteorder)
    return None


class Timekeeper(WebSocketProtocol):
    """Pings the peer, gives it up when it is gone, and limits the time that closing takes.

    A connection has one timer: for the next ping or for the pong; while closing, for the end.
    """

    _timer: asyncio.TimerHandle | None = None
    _ends_at: float | None = None
    """When closing has to be over, by the loop's clock; None unless closing."""

    def start_keeping_time(self, limits: Limits) -> None:
        """Prepare. This has to be called before anything else here."""
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._ping_timeout = min(limits.ping_timeout, limits.ping_interval)
        self._liveness = Liveness()

    # What a protocol has to provide

    def _untaken(self) -> int:
        """Return the bytes that the peer's system has not taken yet."""
        raise NotImplementedError

    def _acknowledged(self) -> int | None:
        """Return the bytes that it has taken since the beginning; None if unknown."""
        raise NotImplementedError

    def _backlog(self) -> int:
        """Return what the peer has yet to take, if it should be seen to take some of it; else 0.

        From now on, `Liveness.backlog_taken` has to be called when it has.
        """
        raise NotImplementedError

    def _is_reading(self) -> bool:
        """Return whether a pong would be seen."""
        raise NotImplementedError

    def abort(self) -> None:
        """End the connection at once."""
        raise NotImplementedError

    def _give_up(self) -> None:
        """Close the connection with `UNHEARD`, and tell the handler that it is over."""
        raise NotImplementedError

    # Pings

    def start_pinging(self) -> None:
        self._liveness.heard = perf_counter()
        if self._limits.ping_interval > 0:
            self._set_timer(self._limits.ping_interval, self._ping)

    def _ping(self) -> None:
        self._forgive_standstill()
        now = perf_counter()
        self._look(now)
        self._liveness.ping_sent(now, self._backlog())
        self.write_ping(b"")
        if self._ping_timeout > 0:
            self._set_timer(self._ping_timeout, self._check_pong)
        else:
            self._set_timer(self._limits.ping_interval, self._ping)

    def _check_pong(self, last: bool = False) -> None:
        self._forgive_standstill()
        limits = self._limits
        now = perf_counter()
        left = self._liveness.time_left(
            now,
            self._look(now),
            reads=self._is_reading(),
            silence=limits.ping_interval + self._ping_timeout,
            stall=limits.ping_interval,
        )
        if left is None:
            self._set_timer(limits.ping_interval - self._ping_timeout, self._ping)
        elif left > 0:
            # A peer that takes nothing from now on is seen to as soon as after a ping.
            self._set_timer(min(left, self._ping_timeout), self._check_pong)
        elif last:
            self._give_up()
        else:
            self._set_timer(limits.grace, self._check_pong, True)

    def _look(self, now: float) -> int:
        """Take note of what the peer has taken, and return what it has yet to take."""
        untaken = self._untaken()
        self._liveness.looked(now, self._acknowledged() if untaken else None)
        return untaken

    def _forgive_standstill(self) -> None:
        timer = self._timer
        if timer is not None and self._loop.time() - timer.when() > self._limits.standstill:
            self._liveness.forgive(perf_counter())

    # The end

    def _wait_for_end(self) -> None:
        """Abort the connection if it does not end in time."""
        if self._ends_at is None:
            self._ends_at = self._loop.time() + self._limits.end_timeout
        self._set_timer(self._limits.close_timeout, self._check_end, self._untaken(), self._ends_at)

    def _check_end(self, untaken: int, ends_at: float) -> None:
        if self._untaken() < untaken and self._loop.time() < ends_at:
            self._wait_for_end()
        else:
            self.abort()

    def _set_timer(
        self, delay: float | None, callback: Callable[..., None] | None = None, *args: object
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay is not None and callback is not None:
            # uvloop's handles of timers for less than a millisecond do not say when they are due.
            self._timer = self._loop.call_later(max(delay, 0.001), callback, *args)
