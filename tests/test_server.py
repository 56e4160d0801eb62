"""The server in the test's own process, where its state can be looked at."""

import asyncio
import os
import random
from collections import deque
from pathlib import Path
from time import sleep

import pytest

from config.config import Config
from handler.handler import Handler
from handler.large_rooms import LARGE
from server import serve
from tests.support.client import (
    Client,
    Opcode,
    frame,
    read_response,
    text_frame,
    upgrade_request,
)
from tests.support.peer import PING, Peer, leave_client, message, new_client
from tests.support.server_process import TRANSPORTS, Transport
from tests.support.signaling import served
from tests.support.waiting import until
from transport.listen import ListenError

FILE_DESCRIPTORS = Path("/dev/fd")


async def end(peer: Peer) -> int:
    """Read to the end and return the code with which the server closed."""
    _, code = await peer.rest()
    peer.abort()
    return code


async def come_and_go(url: str, dice: random.Random, others: deque[str]) -> None:
    """Join a room, talk to those who came before, gone or not, and leave in some way."""
    peer = await Peer.connect(url)
    others.append(peer.id)
    peer.write(text_frame(message("join", room_id="crowd")))
    for other in tuple(others):
        peer.write(text_frame(message("offer", client_id=other, sdp="x" * 500)))
    peer.write(
        dice.choice(
            [
                text_frame(message("answer", client_id="nobody", sdp="to nobody")),
                text_frame("garbage"),
                frame(2, dice.randbytes(20)),
            ]
        )
    )
    if dice.randrange(4) == 0:
        peer.write(text_frame(message("join", room_id=f"crowd{dice.randrange(3)}")))
    match dice.randrange(3):
        case 0:
            peer.reset()
        case 1:
            peer.abort()
        case _:
            await peer.send(frame(8, b"\x03\xe8"))
            await end(peer)


@pytest.mark.timeout(seconds=300)  # While coverage is measured, it takes ten times as long.
@pytest.mark.skipif(not FILE_DESCRIPTORS.exists(), reason="needs /dev/fd: run it on Linux or macOS")
async def test_nothing_remains_of_clients_that_have_gone() -> None:
    """After 200 clients have each joined and left ten times at once, nothing of them remains.

    There is no room, client, task, file descriptor or handler. Anything that still refers to a
    handler, such as a timer of its keepalive, would run for nobody.
    """
    # With debug mode this would take a minute.
    asyncio.get_running_loop().set_debug(False)
    others: deque[str] = deque(maxlen=10)

    def descriptors() -> int:
        return len(os.listdir(FILE_DESCRIPTORS))

    async def client(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(10):
            await come_and_go(server.url, dice, others)

    async with served() as server:
        await come_and_go(server.url, random.Random(0), others)
        await until(server.empty)
        await until(lambda: server.connections.in_memory() == 0)
        files, tasks = descriptors(), len(asyncio.all_tasks())
        async with asyncio.TaskGroup() as group:
            for seed in range(200):
                group.create_task(client(seed))
        await until(server.empty)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await until(lambda: server.connections.in_memory() == 0)
        await until(lambda: descriptors() <= files)
        assert len(server.connections.ever) == 1 + 200 * 10


@pytest.mark.parametrize("kept_alive", [False, True], ids=["new", "kept-alive"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_upgrade_while_the_server_is_stopping(
    transport: Transport, kept_alive: bool
) -> None:
    """A client that connects while the others are being closed is closed with 1001 at once, too."""
    async with served(Config(transport=transport)) as server:
        # This client does not answer the close, so that stopping takes time.
        silent = await server.connect()
        silent.stop_reading()
        late = await Peer.open(server.url)
        if kept_alive:
            late.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await read_response(late.reader)).status == 200
        stopping = asyncio.create_task(server.connections.close_all(1001, "stopping"))
        await asyncio.sleep(0)  # This lets it run until it waits.
        # A second is well below the time that the silent client is given.
        async with asyncio.timeout(1):
            late.write(upgrade_request("localhost", "/connect"))
            assert (await read_response(late.reader)).status == 101
            texts, code = await late.rest()
        assert code == 1001
        assert not [text for text in texts if "notify-client-id" not in text]
        assert not stopping.done()
        late.write(frame(8, b"\x03\xe9"))
        late.abort()
        silent.abort()
        await asyncio.wait_for(stopping, 10)


async def test_stopping_takes_no_step_for_each_pair_of_members() -> None:
    """A client that is closed with all others is neither taken out of its room nor announced."""
    async with served() as server:
        peers = await server.members("room", 20)
        rooms = server.repo.get("room")
        stopping = asyncio.create_task(server.connections.close_all(1001, "stopping"))
        for peer in peers:
            texts, code = await peer.rest()
            assert (texts, code) == ([], 1001)
            peer.write(frame(8, b"\x03\xe9"))
            peer.abort()
        await asyncio.wait_for(stopping, 10)
        assert server.repo.get("room") is rooms


async def test_a_room_where_all_fall_behind_at_once_empties_itself() -> None:
    """Each leave is one more message for the next member, which is closed in turn; none crashes."""
    # With debug mode the joins would take half a minute.
    asyncio.get_running_loop().set_debug(False)
    # Tornado's protocol learns late what the kernel has taken, so all fall behind.
    async with served(Config(max_send_buffer=1000, transport="tornado")) as server:
        # More would make the room a large one, in which joins wait.
        peers = [await server.connect() for _ in range(LARGE)]
        for peer in peers:
            await peer.join("r")
        # There are 20 messages of 72 bytes for each other member, with no pause to send the first
        # ones.
        peers[0].write(text_frame(message("join", room_id="r")) * 20)
        async with asyncio.timeout(20):
            for peer in peers[1:]:
                assert await end(peer) == 1013
            peers[0].abort()
        await until(server.empty)


async def test_the_room_is_told_before_the_laggard_is_gone() -> None:
    """A client that stops reading is out of its room at once, not when its socket closes."""
    async with served(Config(max_send_buffer=100_000)) as server:
        (first,) = await server.members("r", 1)
        laggard = await server.connect(receive_buffer=4096)
        await laggard.join("r")
        assert await first.receive() == new_client(laggard)
        laggard.stop_reading()
        sdp = "x" * 50_000
        async with asyncio.timeout(10):
            while (texts := await first.received()) == []:
                await first.say("offer", client_id=laggard.id, sdp=sdp)
        assert texts[0] == leave_client(laggard)
        assert len(server.connections) == 2
        # Its backlog is still sent, and then the reason for the end.
        laggard.resume_reading()
        assert await end(laggard) == 1013


@pytest.mark.parametrize("step", ["set_nodelay", "send", "_keep_alive_later"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_connection_whose_opening_fails_is_counted_out_again(
    transport: Transport,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This holds whatever fails in it. The client's connection ends, and others are served."""

    def fail(*_: object) -> None:
        raise OSError("no such luck")

    async with served(Config(transport=transport)) as server:
        with monkeypatch.context() as broken:
            broken.setattr(Handler, step, fail)
            # The traceback in the log would keep the handler in memory.
            broken.setattr(Handler, "log_exception", lambda *_: None)
            failing = await Client.connect(server.url)
            await failing.end()
            failing.abort()
            assert len(server.connections) == 0
        await until(lambda: server.connections.in_memory() == 0)
        await server.connect()
        assert len(server.connections) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_room_is_told_when_a_member_is_given_up(
    transport: Transport,
) -> None:
    """It is told at once, not when the connection is over; a member that only talks stays."""
    config = Config(transport=transport, ping_interval=0.2, ping_timeout=0.1)
    async with served(config) as server:
        talker, silent = await server.members("r")

        async def talk() -> None:
            while True:
                await asyncio.sleep(0.05)
                await talker.send_text(PING)

        talking = asyncio.create_task(talk())
        while (got := await talker.receive_frame()).opcode is Opcode.PING:
            pass  # This ping is not answered.
        assert got.payload.decode() == leave_client(silent)
        while (got := await silent.receive_frame()).opcode is Opcode.PING:
            pass
        assert got.opcode is Opcode.CLOSE
        assert got.payload == (1011).to_bytes(2) + b"ping timeout"
        assert len(server.connections) == 1
        talking.cancel()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_keepalives_that_were_missed_are_not_made_up_for(
    transport: Transport,
) -> None:
    """After a standstill of many intervals there is one keepalive, and the next when it is due."""
    async with served(Config(transport=transport, keepalive_interval=0.2)) as server:
        peer = await server.connect()
        loop = asyncio.get_running_loop()
        assert await peer.receive_text() == PING
        first = loop.time()
        sleep(1.1)  # noqa: ASYNC251 - Five intervals and a half: none is due just when it ends.
        assert await peer.receive_text() == PING
        assert await peer.receive_text() == PING
        assert 1.1 < loop.time() - first < 1.35
        assert await peer.receive_text() == PING
        assert 1.3 < loop.time() - first < 1.6


async def test_an_address_that_cannot_be_listened_on_is_named() -> None:
    with pytest.raises(ListenError, match=r"^cannot listen on '\[not an address\]:1': "):
        await serve(Config(addr="[not an address]", port=1))
