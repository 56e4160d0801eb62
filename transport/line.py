"""A line for requests: however many come at once, WebSocket peers wait for no more than a few.

The event loop takes what every connection has sent before it returns to the first one. A request
costs 0.2 ms, an upgrade 0.4 ms, and either about 1 ms with a hundred header lines, so 500 clients
that ask again and again made others wait for 95 ms of CPU time in the median. Here, requests of all
connections together are taken up `AT_ONCE` in an iteration, first come, first served, and others
wait for 1 ms. A request that comes while there is no line does not wait at all.

They are counted, because Tornado does most of its work for a request in a task, after this has
handed it over. A TLS handshake is timed too, since it is made here and may take several of them.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from time import thread_time
from typing import cast

AT_ONCE = 4
"""Requests that are taken up in one iteration of the event loop: a millisecond of work, or two."""

LONG = 0.002
"""Seconds of CPU time after which nothing more is taken up in an iteration. The answer to a TLS
client takes 7 ms with a key of RSA that has 4096 bits."""


class Line:
    """The connections of one event loop whose request has come and is not taken up yet."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[object, Callable[[], object]] = OrderedDict()
        self._free = AT_ONCE
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, connection: object, take_up: Callable[[], object]) -> None:
        """Call `take_up` when it is the connection's turn: at once, if nothing is in its way."""
        if self._free and not self._waiting:
            self._schedule()
            self._take_up(take_up)
        else:
            self._waiting[connection] = take_up

    def leave(self, connection: object) -> None:
        """Forget a connection; do nothing if it does not wait."""
        self._waiting.pop(connection, None)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next_iteration)

    def _next_iteration(self) -> None:
        self._scheduled = False
        self._free = AT_ONCE
        try:
            while self._free and self._waiting:
                _, take_up = self._waiting.popitem(last=False)
                self._take_up(take_up)
        finally:
            if self._free < AT_ONCE:
                self._schedule()

    def _take_up(self, take_up: Callable[[], object]) -> None:
        self._free -= 1
        begun = thread_time()
        take_up()
        if thread_time() - begun > LONG:
            self._free = 0


def is_reset(transport: asyncio.Transport) -> bool:
    """Return whether the client has reset the connection.

    What it had sent before is still read, so a handshake would be made with nobody, and others wait
    for that: a client can be gone while it is in the line, or before it is accepted.
    """
    if transport.is_closing():
        return True
    sock = transport.get_extra_info("socket")
    return cast(int, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) != 0
