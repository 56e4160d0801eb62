"""Keepalive and deadlines, which take time."""

import asyncio
from concurrent.futures import Future

import pytest

from tests.conformance.conftest import Connect, Members
from tests.support.client import Opcode
from tests.support.peer import PING, leave_client, new_client


async def test_keepalive_and_deadlines(waiting: Future[None]) -> None:
    """`ping` comes 30.0 s after each connect; a half-sent request is dropped after 10 s."""
    await asyncio.wrap_future(waiting)


@pytest.mark.slow
@pytest.mark.timeout(seconds=90)
@pytest.mark.differ
async def test_stalled_peer(members: Members, connect: Connect, room: str) -> None:
    """A peer that answers no WebSocket ping is gone within 60 s; one that answers stays."""
    (member,) = await members(room, 1)
    stalled = await connect()
    await stalled.join(room)
    assert await member.receive() == new_client(stalled)
    stalled.stop_reading()
    member.time_limit = 60
    texts: list[str] = []
    loop = asyncio.get_running_loop()
    start = loop.time()
    while leave_client(stalled) not in texts:
        texts.append(await member.receive_text())
    assert loop.time() - start < 60
    assert [text for text in texts if text != PING] == [leave_client(stalled)]
    while texts.count(PING) < 2:
        texts.append(await member.receive_text())
    assert 59 < loop.time() - start < 61
    newcomer = await connect()
    await newcomer.join(room)
    assert await member.receive() == new_client(newcomer)


@pytest.mark.slow
@pytest.mark.timeout(seconds=90)
@pytest.mark.differ
async def test_no_pongs(members: Members, room: str) -> None:
    """A peer that answers no WebSocket ping stays while it talks; a silent one gets a close."""
    talker, silent = await members(room)
    silent.time_limit = 60

    async def talk() -> None:
        # It talks neither when a ping comes nor soon after.
        for _ in range(2):
            await asyncio.sleep(28)
            await talker.send_text(PING)

    talking = asyncio.create_task(talk())
    while (end := await silent.receive_frame()).opcode is not Opcode.CLOSE:
        pass
    assert int.from_bytes(end.payload[:2]) == 1011
    assert end.payload[2:]
    await talking
    assert await talker.received() == [leave_client(silent)]
