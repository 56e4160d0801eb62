"""Servers that share their rooms over Valkey, and their clients."""

import signal
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import pytest
from tornado.ioloop import IOLoop

from tests.cluster.members import gone
from tests.support.cable import Cable, cable_to
from tests.support.peer import Peer
from tests.support.server_process import ServerProcess, server_process
from tests.support.valkey import Valkey, running_valkey

Start = Callable[..., list[ServerProcess]]
Connect = Callable[..., Awaitable[Peer]]

LEASE = 0.6
"""Seconds of a server's lease, unless a test says otherwise."""


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """Run one Valkey for the tests of a file: the servers of each have keys of their own."""
    with running_valkey() as valkey:
        yield valkey


@pytest.fixture
def room() -> str:
    return f"room-{uuid4()}"


@contextmanager
def starting(valkey: Valkey) -> Iterator[Start]:
    """Yield a function that starts some servers of one cluster. They end on leaving.

    Variables can be given by name; REDIS_URL stands for another way to Valkey. `killed=True` is for
    servers that the test kills.
    """
    prefix = f"test-{uuid4()}"
    servers: list[ServerProcess] = []

    def start(
        count: int = 1, *, lease: float = LEASE, killed: bool = False, **variables: str
    ) -> list[ServerProcess]:
        env = {
            "REDIS_URL": valkey.url,
            "SIGNALING_CLUSTER_PREFIX": prefix,
            "SIGNALING_CLUSTER_LEASE": str(lease),
            **variables,
        }
        exit_code = -signal.SIGKILL if killed else 0

        def start_one(_: int) -> ServerProcess:
            return stack.enter_context(server_process(env=env, exit_code=exit_code))

        with ThreadPoolExecutor(count) as threads:
            started = list(threads.map(start_one, range(count)))
        servers.extend(started)
        return started

    with ExitStack() as stack:
        yield start
        for server in servers:
            server.send_signal(signal.SIGCONT)
            server.send_signal(signal.SIGTERM)  # To all, so that they end at the same time.


@pytest.fixture
def start(valkey: Valkey) -> Iterator[Start]:
    """Return a function that starts servers of a cluster of this test, as `starting` says."""
    with starting(valkey) as start:
        yield start


@pytest.fixture
def cable(valkey: Valkey) -> Iterator[Cable]:
    """Lay a cable to Valkey, for servers with the variable REDIS_URL=cable.url."""
    with cable_to(valkey.port) as cable:
        yield cable


@pytest.fixture
def connect(io_loop: IOLoop) -> Iterator[Connect]:
    """Return a function that connects a client to a server. Clients end with the test.

    The client joins a room if one is given.
    """
    peers: list[Peer] = []

    async def connect(server: ServerProcess, room: str | None = None, **options: Any) -> Peer:
        peer = await Peer.connect(server.url, **options)
        peers.append(peer)
        if room is not None:
            await peer.join(room)
        return peer

    yield connect
    io_loop.run_sync(lambda: gone(peers))
