"""A load balancer: `python -m tests.support.balancer HOST:PORT HOST:PORT`.

Each connection goes to the next server. The first line that it prints is its own address.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle
from typing import cast

from process import new_event_loop


class End(asyncio.Protocol):
    """One end of a connection; what comes from it goes to the other."""

    def __init__(self) -> None:
        self._other: End | None = None
        self._early = b""
        self._ended = False
        self.transport: asyncio.Transport | None = None

    def connect(self, other: "End") -> None:
        """Join two ends, of which one may be lost already."""
        self._other, other._other = other, self
        for end in (self, other):
            if end.transport is None:
                end.connection_lost(None)
            elif end._early:
                end.data_received(end._early)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        other = self._other
        if other is None:
            self._early += data
        elif other.transport is not None:
            other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the end of the stream on; the connection is over when both have ended."""
        self._ended = True
        other = self._other
        if other is None or other.transport is None or other.transport.is_closing():
            return False
        other.transport.write_eof()
        return not other._ended

    def pause_writing(self) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._other is not None and self._other.transport is not None:
            self._other.transport.close()


class Client(End):
    def __init__(self, servers: Iterator[str]) -> None:
        super().__init__()
        self._servers = servers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.ensure_future(self._connect(next(self._servers)))

    async def _connect(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        loop = asyncio.get_running_loop()
        try:
            _, server = await loop.create_connection(End, host, int(port))
        except OSError:
            if self.transport is not None:
                self.transport.abort()
        else:
            self.connect(server)


async def listen(addresses: list[str], port: int) -> asyncio.Server:
    """Take connections on a port of 127.0.0.1 and pass them on; 0 stands for any free port."""
    servers = cycle(addresses)
    return await asyncio.get_running_loop().create_server(
        lambda: Client(servers), "127.0.0.1", port
    )


async def balance(addresses: list[str]) -> None:
    """Serve until cancelled."""
    server = await listen(addresses, 0)
    print("{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner, suppress(KeyboardInterrupt):
        runner.run(balance(sys.argv[1:]))
