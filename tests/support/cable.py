"""The way from a server to Redis, which a test can cut or freeze."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat

from process import new_event_loop
from tests.support.balancer import Client, End
from tests.support.valkey import free_port


class _Near(Client):
    """The end towards the server that connects."""

    def __init__(self, cable: "Cable") -> None:
        super().__init__(repeat(cable.address))
        self._cable = cable

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._cable.ends.add(self)
        if self._cable.frozen:
            self.hold()

    def connect(self, other: End) -> None:
        super().connect(other)
        if self._cable.frozen:
            self.hold()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cable.ends.discard(self)

    def hold(self) -> None:
        for transport in self._transports():
            transport.pause_reading()

    def let_go(self) -> None:
        for transport in self._transports():
            transport.resume_reading()

    def hold_answers(self) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.pause_reading()

    def reset(self) -> None:
        for transport in self._transports():
            sock: socket.socket = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()

    def _transports(self) -> list[asyncio.Transport]:
        ends = [self, self._other] if self._other is not None else [self]
        return [end.transport for end in ends if end.transport is not None]


class Cable:
    """Passes connections on to an address; runs in a thread, so that tests may block."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.frozen = False
        self.ends: set[_Near] = set()
        self._runner = asyncio.Runner(loop_factory=new_event_loop)
        self._loop = self._runner.get_loop()
        self._listening: asyncio.Server | None = None

    def cut(self) -> None:
        """Reset all connections, and refuse new ones."""
        self._call(self._cut)

    def reset(self) -> None:
        """Reset all connections, and take new ones."""
        self._call(self._reset)

    def mend(self) -> None:
        """Take connections again."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def freeze(self) -> None:
        """Let nothing pass, not even the end of a connection; what is sent meanwhile is kept."""
        self._call(self._freeze)

    def thaw(self) -> None:
        """Let pass what was kept, and everything after it."""
        self._call(self._thaw)

    def strand(self) -> None:
        """Let nothing pass on the connections that there are; new ones are as always."""
        self._call(self._strand)

    def hold_answers(self) -> None:
        """Let nothing come back on the connections that there are."""
        self._call(self._hold_answers)

    def run(self) -> None:
        self._loop.run_forever()
        self._runner.run(self._close())
        self._runner.close()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    async def _listen(self) -> None:
        self._listening = await self._loop.create_server(
            lambda: _Near(self), "127.0.0.1", self.port, reuse_address=True
        )

    async def _close(self) -> None:
        self._cut()
        await asyncio.sleep(0)

    def _cut(self) -> None:
        if self._listening is not None:
            self._listening.close()
        self._reset()

    def _reset(self) -> None:
        for end in tuple(self.ends):
            end.reset()

    def _strand(self) -> None:
        for end in self.ends:
            end.hold()

    def _hold_answers(self) -> None:
        for end in self.ends:
            end.hold_answers()

    def _freeze(self) -> None:
        self.frozen = True
        self._strand()

    def _thaw(self) -> None:
        self.frozen = False
        for end in self.ends:
            end.let_go()


@contextmanager
def cable_to(port: int) -> Iterator[Cable]:
    """Lay a cable to a port of 127.0.0.1; its own `url` is the near end."""
    cable = Cable(f"127.0.0.1:{port}")
    thread = threading.Thread(target=cable.run)
    thread.start()
    try:
        cable.mend()
        yield cable
    finally:
        cable.end()
        thread.join()
