"""Servers, rooms and clients for every test."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from tornado.ioloop import IOLoop

from tests.conformance.waits import keepalive_and_deadlines
from tests.support import certificates
from tests.support.cluster import balanced_cluster
from tests.support.peer import Peer, join_one_by_one
from tests.support.server_process import TRANSPORTS, server_process

Connect = Callable[..., Awaitable[Peer]]
Members = Callable[..., Awaitable[list[Peer]]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize tests that use `url` by transport, so that one's tests follow the other's."""
    option = metafunc.config.getoption
    given = any(map(option, ("--server", "--cluster", "--workers", "--tls")))
    if "url" in metafunc.fixturenames and not given:
        metafunc.parametrize("url", TRANSPORTS, indirect=True, scope="session")


@pytest.fixture(scope="session")
def urls(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Yield the URL that an option asks for, or those of servers for the session by transport."""
    given = request.config.getoption("--server")
    with ExitStack() as stack:
        if request.config.getoption("--cluster") and not given:
            given = stack.enter_context(balanced_cluster())
        if request.config.getoption("--workers"):
            given = stack.enter_context(server_process("-workers", "2")).url
        if request.config.getoption("--tls"):
            given = stack.enter_context(server_process(env=certificates.files().env)).url
        yield (
            {"given": given}
            if given
            else {
                transport: stack.enter_context(
                    server_process(env={"SIGNALING_TRANSPORT": transport})
                ).url
                for transport in TRANSPORTS
            }
        )


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest, urls: dict[str, str]) -> str:
    """Return the URL to connect to."""
    return urls[getattr(request, "param", "given")]


@pytest.fixture(scope="session", autouse=True)
def waiting(request: pytest.FixtureRequest, urls: dict[str, str]) -> Iterator[Future[None] | None]:
    """Begin the checks that take half a minute before any test; None if no test needs them."""
    if all(item.name != "test_keepalive_and_deadlines" for item in request.session.items):
        yield None
        return
    reference = request.config.getoption("--reference")
    waits = keepalive_and_deadlines(urls.values(), f"room-{uuid4()}", reference)
    with ThreadPoolExecutor(1) as executor:
        yield executor.submit(asyncio.run, waits)


@pytest.fixture
def room() -> str:
    """Return the name of a room that nobody else uses."""
    return f"room-{uuid4()}"


@pytest.fixture
def connect(url: str, io_loop: IOLoop) -> Iterator[Connect]:
    """Return a function that connects a client like `Peer.connect`; clients end with the test."""
    peers: list[Peer] = []

    async def connect(url: str = url, **arguments: Any) -> Peer:
        peers.append(await Peer.connect(url, **arguments))
        return peers[-1]

    async def abort() -> None:
        for peer in peers:
            peer.abort()
        # The transports close their sockets in the next iteration of the loop.
        await asyncio.sleep(0)

    yield connect
    io_loop.run_sync(abort)


@pytest.fixture
def members(connect: Connect) -> Members:
    """Return a function that makes new members of a room, as `join_one_by_one` does."""
    return partial(join_one_by_one, connect)
