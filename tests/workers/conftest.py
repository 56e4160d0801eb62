import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from tests.support.peer import Peer
from tests.support.server_process import ServerProcess
from tests.workers.servers import two_workers

Connect = Callable[..., Awaitable[Peer]]


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with two_workers() as server:
        yield server


@pytest.fixture
def connect(io_loop: IOLoop) -> Iterator[Connect]:
    """Return a function that connects a client to a server. Clients end with the test."""
    peers: list[Peer] = []

    async def connect(server: ServerProcess, room: str | None = None, **options: int) -> Peer:
        peers.append(await Peer.connect(server.url, **options))
        if room is not None:
            await peers[-1].join(room)
        return peers[-1]

    async def abort() -> None:
        for peer in peers:
            peer.abort()
        await asyncio.sleep(0)

    yield connect
    io_loop.run_sync(abort)


@pytest.fixture
def linux() -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("looks up processes in /proc: run it on Linux")
