"""The server in the test's own process, where all that it holds can be looked at."""

import asyncio
import gc
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from config.config import Config
from handler.connections import Connections
from manager.room import RoomManager
from repository.mem.room import RoomRepository
from server import ListenError, make_app, serve
from tests.conformance.client import ClosedError, frame, text_frame
from tests.conformance.peer import Peer, leave_client, message, new_client

FILE_DESCRIPTORS = Path("/dev/fd")


class Served:
    """A server on a free port, with what it is made of."""

    def __init__(self, config: Config) -> None:
        self.repo = RoomRepository()
        self.connections = Connections()
        self.server = HTTPServer(make_app(RoomManager(self.repo), config, self.connections))
        sockets = bind_sockets(0, "127.0.0.1", backlog=1024)
        self.url = f"ws://127.0.0.1:{sockets[0].getsockname()[1]}/connect"
        self.server.add_sockets(sockets)

    def empty(self) -> bool:
        """Whether it holds no room and no client."""
        return not len(self.connections) and vars(self.repo) == vars(RoomRepository())


@asynccontextmanager
async def served(config: Config | None = None) -> AsyncIterator[Served]:
    server = Served(config or Config())
    yield server
    server.server.stop()
    await server.server.close_all_connections()


async def end(peer: Peer) -> int:
    """Reads to the end and returns the code with which the server closed."""
    while True:
        try:
            await peer.receive_text()
        except ClosedError as closed:
            peer.abort()
            return closed.code


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what nothing announces; fails after ten seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def come_and_go(url: str, dice: random.Random) -> None:
    """Joins one room and leaves it again, noisily and in one of three ways."""
    peer = await Peer.connect(url)
    peer.write(text_frame(message("join", room_id="crowd")))
    peer.write(
        dice.choice(
            [
                text_frame(message("offer", client_id=peer.id, sdp="to oneself")),
                text_frame(message("answer", client_id="nobody", sdp="to nobody")),
                text_frame("garbage"),
                frame(2, dice.randbytes(20)),
            ]
        )
    )
    await peer.send(text_frame(message("join", room_id=f"crowd{dice.randrange(3)}")))
    match dice.randrange(3):
        case 0:
            peer.reset()
        case 1:
            peer.abort()
        case _:
            peer.write(frame(8, b"\x03\xe8"))
            await end(peer)


@pytest.mark.skipif(not FILE_DESCRIPTORS.exists(), reason="needs /dev/fd: run it on Linux or macOS")
async def test_nothing_remains_of_clients_that_have_gone() -> None:
    """After a crowd has churned, no room, client, task or file descriptor of it remains."""

    def descriptors() -> int:
        gc.collect()
        return len(os.listdir(FILE_DESCRIPTORS))

    async def client(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(10):
            await come_and_go(server.url, dice)

    async with served() as server:
        await come_and_go(server.url, random.Random(0))
        files, tasks = descriptors(), len(asyncio.all_tasks())
        async with asyncio.TaskGroup() as group:
            for seed in range(40):
                group.create_task(client(seed))
        await until(server.empty)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await until(lambda: descriptors() <= files)


async def test_a_room_where_all_fall_behind_at_once_empties_itself() -> None:
    """Each one's leaving is one more message for the next, who is closed in turn, not crashed."""
    # With it the joining would take longer than it takes the keepalive to come between.
    asyncio.get_running_loop().set_debug(False)
    async with served(Config(max_send_buffer=1000)) as server:
        peers = [await Peer.connect(server.url) for _ in range(200)]
        for peer in peers:
            await peer.join("r")
        # 20 messages of 72 bytes for everybody else, with no pause in which to send the first.
        peers[0].write(text_frame(message("join", room_id="r")) * 20)
        async with asyncio.timeout(20):
            for peer in peers[1:]:
                assert await end(peer) == 1013
            peers[0].abort()
        await until(server.empty)


async def test_the_room_is_told_before_the_laggard_is_gone() -> None:
    """A client that stops reading is out of its room at once, not when its socket closes."""
    async with served(Config(max_send_buffer=100_000)) as server:
        first = await Peer.connect(server.url)
        await first.join("r")
        laggard = await Peer.connect(server.url, receive_buffer=4096)
        await laggard.join("r")
        assert await first.receive() == new_client(laggard)
        laggard.stop_reading()
        sdp = "x" * 50_000
        async with asyncio.timeout(10):
            while (texts := await first.received()) == []:
                await first.say("offer", client_id=laggard.id, sdp=sdp)
        assert texts[0] == leave_client(laggard)
        assert len(server.connections) == 2
        # The rest of what it is owed is still sent, then the reason for the end.
        laggard.resume_reading()
        assert await end(laggard) == 1013
        first.abort()


async def test_an_address_that_cannot_be_listened_on_is_named() -> None:
    with pytest.raises(ListenError, match=r"^cannot listen on \[not an address\]:1: "):
        await serve(Config(addr="[not an address]", port=1))
