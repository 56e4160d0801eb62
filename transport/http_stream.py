"""The stream of a connection that is Tornado's `HTTPServer`'s, with limits which that lacks."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from tornado.concurrent import future_set_result_unless_cancelled
from tornado.httputil import HTTPInputError
from tornado.iostream import StreamClosedError, UnsatisfiableReadError

from transport.head import MAX_HEAD_SIZE, UPGRADE, refusal, refuse
from transport.line import Line
from transport.newcomers import Newcomers
from transport.private import HeadStream
from transport.timekeeper import unacknowledged

MAX_CHUNKS = 20
"""Chunks of a body, with the empty one at its end. Tornado takes 10 µs for each, however small."""


class HTTPStream(HeadStream):
    """A stream whose first request has come already, and with it perhaps more.

    The next request on it may be long in coming, but its head has to be complete `timeout` seconds
    after it has begun, and it waits in the line, both like the first. A client that takes nothing
    of a response for `timeout` seconds, or at most twice that, is given up.

    If a later request may open a WebSocket, the connection and what has come on it are given back.
    """

    def __init__(
        self,
        sock: socket.socket,
        pre_read: bytes,
        timeout: float,
        line: Line,
        newcomers: Newcomers,
        give_back: Callable[[socket.socket, bytes], object] | None,
        **options: int | None,
    ) -> None:
        """Read `pre_read` before what comes on the socket. Its first request has had its turn.

        Without `give_back`, the HTTP server opens WebSockets too.
        """
        self._pre_read = memoryview(pre_read)
        self._limit = timeout
        self._line = line
        self._newcomers = newcomers
        self._give_back = give_back
        self._had_turn = True
        self._upgraded = False
        self._chunks = 0
        self._head: asyncio.Future[bytes] | None = None
        self._awaits_head = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._given = 0
        self._write_timer: asyncio.TimerHandle | None = None
        super().__init__(sock, **options)

    def upgraded(self) -> None:
        """Leave the connection to whoever speaks another protocol on it from now on."""
        self._upgraded = True
        self._newcomers.discard(self)
        self._stop_watching_writing()

    # Reading

    def read_until_regex(
        self, regex: bytes, max_bytes: int | None = None
    ) -> "asyncio.Future[bytes]":
        """Read a request's head: Tornado uses this method for nothing else.

        The Future is done when it is the turn of the request.
        """
        self._awaits_head = True
        self._chunks = 0
        if self.unread:
            self._head_begins()
        self._head = head = asyncio.get_running_loop().create_future()
        came = cast("asyncio.Future[bytes]", super().read_until_regex(regex, MAX_HEAD_SIZE))
        if came.done():
            self._head_came(came)
        else:
            came.add_done_callback(self._head_came)
        return head

    def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """Read the length of a chunk of a body: Tornado uses this method for nothing else.

        Raises HTTPInputError for too many, which Tornado answers with 400.
        """
        self._chunks += 1
        if self._chunks > MAX_CHUNKS:
            raise HTTPInputError("too many chunks")
        return super().read_until(delimiter, max_bytes)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        number = self._read_what_was_read(buf) or super().read_from_fd(buf)
        if number and self._awaits_head:
            self._head_begins()
        return number

    def _read_what_was_read(self, buf: bytearray | memoryview) -> int:
        number = min(len(buf), len(self._pre_read))
        if number:
            buf[:number] = self._pre_read[:number]
            # An empty view would keep the bytes that it is a view of.
            self._pre_read = self._pre_read[number:] or memoryview(b"")
        return number

    def _head_begins(self) -> None:
        if self._head_timer is None:
            loop = asyncio.get_running_loop()
            self._head_timer = loop.call_later(self._limit, self.close)
            self._newcomers.add(self)

    def _head_came(self, came: "asyncio.Future[bytes]") -> None:
        self._awaits_head = False
        if came.exception() or self.closed():
            self.close()
            return
        head = came.result()
        if status := refusal(head, len(head)):
            self.write(refuse(status))
            self.close()
        elif self._had_turn:
            self._had_turn = False
            self._take_up(head)
        elif self._give_back is not None and UPGRADE.search(head):
            self._give_up(head, self._give_back)
        else:
            self._line.enter(self, partial(self._take_up, head))

    def _give_up(self, head: bytes, give_back: Callable[[socket.socket, bytes], object]) -> None:
        """Close this stream, but not its connection, unless there is no file for that."""
        with suppress(OSError):
            give_back(self.socket.dup(), head + self.read_ahead() + bytes(self._pre_read))
        self.close()

    def _take_up(self, head: bytes) -> None:
        self._stop_head_timer()
        if self._head is not None:
            future_set_result_unless_cancelled(self._head, head)
            self._head = None

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    # Writing

    def write(self, data: bytes | memoryview) -> "asyncio.Future[None]":
        written = super().write(data)
        if self._write_timer is None and self.writing() and not self._upgraded:
            self._watch_writing(self._taken())
        return written

    def write_to_fd(self, data: memoryview) -> int:
        number = super().write_to_fd(data)
        self._given += number
        return number

    def _taken(self) -> int:
        """Return how many bytes the client's system has taken so far."""
        return self._given - unacknowledged(self.socket)

    def _watch_writing(self, taken: int) -> None:
        loop = asyncio.get_running_loop()
        self._write_timer = loop.call_later(self._limit, self._look_at_writing, taken)

    def _look_at_writing(self, taken_before: int) -> None:
        self._write_timer = None
        if self.writing():
            taken = self._taken()
            if taken > taken_before:
                self._watch_writing(taken)
            else:
                self.close()

    def _stop_watching_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    # The end

    def close(self, exc_info: Any = False) -> None:
        if self._awaits_head and isinstance(exc_info, UnsatisfiableReadError):
            self._awaits_head = False
            self.write(refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        super().close(exc_info)
        self._line.leave(self)
        self._newcomers.discard(self)
        self._stop_head_timer()
        self._stop_watching_writing()
        head, self._head = self._head, None
        if head is not None and not head.done():
            head.set_exception(StreamClosedError(real_error=self.error))
            head.exception()  # Marks it as seen: nobody may be waiting any more.

    def drop(self) -> None:
        self.close()
