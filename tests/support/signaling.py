"""The signaling server in the test's own process, where its state can be looked at."""

import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tornado.httpserver import HTTPServer

from config.config import Config
from handler.connections import Connection, Connections
from handler.large_rooms import LargeRooms
from manager.room import RoomManager
from repository.mem.room import RoomRepository
from repository.room import Room as Repository
from server import make_app
from tests.support.listening import listening
from tests.support.peer import Peer, join_one_by_one
from tests.support.waiting import until
from transport.listener import Listener
from transport.newcomers import Newcomers


class Remembered(Connections):
    """Knows every connection that there was, without keeping it alive."""

    def __init__(self, newcomers: Newcomers) -> None:
        super().__init__(newcomers)
        self.ever: list[weakref.ref[Connection]] = []

    def add(self, connection: Connection) -> None:
        self.ever.append(weakref.ref(connection))
        super().add(connection)

    def in_memory(self) -> int:
        gc.collect()
        return sum(connection() is not None for connection in self.ever)


class Served:
    """A server at `url`, with its parts."""

    def __init__(self, url: str, repo: Repository, connections: Remembered) -> None:
        self.url = url
        self.repo = repo
        self.connections = connections
        self.peers: list[Peer] = []

    async def connect(self, **options: Any) -> Peer:
        """Connect a client, as `Peer.connect` does. It is gone when the server stops."""
        self.peers.append(await Peer.connect(self.url, **options))
        return self.peers[-1]

    async def members(self, room: str, count: int = 2) -> list[Peer]:
        """Make new members of a room, as `join_one_by_one` does."""
        return await join_one_by_one(self.connect, room, count)

    def empty(self) -> bool:
        """Return whether the server has no room and no client."""
        return not len(self.connections) and vars(self.repo) == vars(RoomRepository())


@asynccontextmanager
async def served(
    config: Config | None = None, repo: Repository | None = None
) -> AsyncIterator[Served]:
    """Serve with these settings and rooms, or with default settings and rooms in memory.

    At the end the clients leave, and no connection may be left over.
    """
    newcomers = Newcomers()
    config, repo, connections = config or Config(), repo or RoomRepository(), Remembered(newcomers)
    app = make_app(RoomManager(repo), config, connections, LargeRooms())
    http_server = HTTPServer(app)
    upgrades = config.transport == "auto"
    listener = Listener(app, http_server, config.handshake_timeout, newcomers, upgrades=upgrades)
    async with listening(http_server, listener) as address:
        server = Served(f"ws://{address}/connect", repo, connections)
        yield server
        for peer in server.peers:
            peer.abort()
        await until(lambda: not len(connections))
