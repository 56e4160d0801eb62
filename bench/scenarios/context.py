"""The context that every scenario runs in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from ssl import SSLContext

from bench.client import Client
from bench.measure import Ledger, Measurement, Meter
from bench.readings import ServerGone, Tree
from bench.settings import Settings


class Context:
    """One server, the connections to it, and the receiver of results."""

    def __init__(
        self,
        host: str,
        port: int,
        tree: Tree,
        settings: Settings,
        emit: Callable[[Measurement], None],
        progress: Callable[[str], None],
        tls: SSLContext | None = None,
    ) -> None:
        """Hold what the scenario needs; nothing is connected yet."""
        self.host = host
        self.port = port
        self.tls = tls
        self.tree = tree
        self.settings = settings
        self._emit = emit
        self.progress = progress
        self.clients: list[Client] = []
        self.errors = 0

    async def open(self) -> Client:
        """Return a connected client that is in no room."""
        timeout, token = self.settings.step_timeout, self.settings.token
        client = await Client.open(self.host, self.port, timeout, self.tls, token)
        client.receive_other = self.receive
        self.clients.append(client)
        return client

    async def member(self, room: str) -> Client:
        """Return a client whose join of `room` the server has processed.

        Members must be made one after another, because not every server survives concurrent joins,
        and a scenario that is about something else should not end there.
        """
        client = await self.open()
        await client.join(room)
        return client

    def receive(self, data: bytes, start: int, end: int) -> None:
        """Count a message if it is an error; ignore any other."""
        if data.find(b'"error"', start, end) >= 0:
            self.errors += 1

    def meter(self) -> Meter:
        """Open a window and return its meter."""
        return Meter(self.tree)

    def finish(self, measurement: Measurement) -> None:
        """Add the counts that all scenarios have, and hand over the result."""
        measurement.disconnects = sum(client.dropped for client in self.clients)
        measurement.errors = self.errors
        self._emit(measurement)

    def check_alive(self) -> None:
        """Raise ServerGone if there were connections and all of them have ended."""
        if self.clients and not any(client.connected for client in self.clients):
            raise ServerGone("every connection has ended")

    async def drain(self, ledger: Ledger) -> None:
        """Wait until everything has arrived, or nothing has for `settings.drain` seconds."""
        arrived = -1
        since = 0.0
        while ledger.lost:
            now = time.perf_counter()
            if ledger.arrived != arrived:
                arrived, since = ledger.arrived, now
            elif now - since > self.settings.drain:
                return
            await self.sleep(0.02)

    async def sleep(self, seconds: float, every: Callable[[], None] = lambda: None) -> None:
        """Wait, and call `every` ten times a second; raise ServerGone once nobody is connected."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            await asyncio.sleep(min(left, 0.1))
            every()
            self.check_alive()
