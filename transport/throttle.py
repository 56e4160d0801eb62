"""Reads a peer slower that sends more bytes than it may."""

import asyncio
from time import perf_counter

from transport.connection import State
from transport.protocol import LoopProtocol

# As a global: looking up a member of an Enum costs more than comparing with it.
_OPEN = State.OPEN

BURST = 128 * 1024
"""Bytes that a peer may send at once if it has sent none for a while: the offers of a browser to
fifteen others, each with the candidates that belong to it."""


class ThrottledProtocol(LoopProtocol):
    """Stops reading for as long as what has come is more than `Limits.byte_rate` permits.

    The kernel then keeps what comes, and its window tells the peer to wait: nothing is lost, and
    order is kept. Meanwhile nothing can be known of the peer, neither that it is there nor that it
    is gone. Once this side has closed the connection, everything is read, so that the peer's answer
    is not missed.
    """

    _pause: asyncio.TimerHandle | None = None
    """The end of the pause, during one."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._connection.state is not _OPEN:
            return
        rate = self._limits.byte_rate
        now = self._loop.time()
        paid = now - BURST / rate
        if paid < self._paid:
            paid = self._paid
        self._paid = paid = paid + len(data) / rate
        if paid > now and self._pause is None:
            self._pause = self._loop.call_at(paid, self._end_pause)
            self._pause_reading()

    async def drained(self) -> None:
        # Whoever goes on with the connection reads at once, before it could be told to wait.
        await asyncio.sleep(self._paid - self._loop.time())
        await super().drained()

    def _end_pause(self) -> None:
        self._stop_pause()
        # Its silence counts from now on, since it could not be heard.
        self._liveness.heard = perf_counter()
        if not self._busy:
            self._resume_reading()

    def _stop_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _resume_reading(self) -> None:
        if self._connection.state is not _OPEN:
            self._stop_pause()
        if self._pause is None:
            super()._resume_reading()

    def _is_reading(self) -> bool:
        return self._pause is None and super()._is_reading()

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        super().close(code, reason)
        if not self._busy:
            self._resume_reading()

    def _lose(self) -> None:
        super()._lose()
        self._stop_pause()
