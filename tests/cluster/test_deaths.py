"""A server that dies, or seems to: the others find out by its lease."""

import asyncio
import signal

from tests.cluster.conftest import LEASE, Connect, Start
from tests.cluster.members import FULL_SDP, heard, looking, members, reaches, relays
from tests.support.peer import Peer, failed, leave_client, new_client, offer
from tests.support.server_process import ServerProcess

HEALED = LEASE * 4 / 3
"""Seconds until the others know of a dead server: its lease, and a third until they look."""

SLACK = 1.0
"""Seconds that a busy machine may take longer."""


async def seconds_until(*peers: Peer, told: list[str]) -> float:
    """Return after how many seconds all of these have been told this, in any order."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for peer in peers:
        assert sorted([await peer.receive() for _ in told]) == sorted(told)
    return loop.time() - start


async def stand_still(server: ServerProcess, witness: Peer, gone: list[Peer]) -> None:
    """Stop a server until the witness has been told that these members have left."""
    server.send_signal(signal.SIGSTOP)
    told = [leave_client(peer) for peer in gone]
    assert await seconds_until(witness, told=told) < HEALED + SLACK


async def test_a_server_is_killed(start: Start, connect: Connect, room: str) -> None:
    """The others are told once that its members have left, when its lease has ended."""
    (dies,) = start(1, killed=True)
    one, other = start(2)
    first, second, *stayers = await members(connect, room, dies, dies, one, other)
    leavers = [first, second]
    dies.kill()
    seconds = await seconds_until(*stayers, told=[leave_client(peer) for peer in leavers])
    assert seconds < HEALED + SLACK
    for leaver in leavers:
        await stayers[0].say("offer", client_id=leaver.id, sdp="x")
    # Nothing comes a second time, when the other server looks for dead ones.
    await asyncio.sleep(LEASE)
    assert await heard(*stayers) == [[failed("offer")] * 2, []]


async def test_all_but_one_are_killed(start: Start, connect: Connect, room: str) -> None:
    """One server that is left finds out alone; its members go on as before."""
    dying = start(2, killed=True)
    (stays,) = start(1)
    stayers = await members(connect, room, stays, stays)
    leavers = [await connect(server, room) for server in dying]
    for stayer in stayers:
        assert [await stayer.receive() for _ in leavers] == [*map(new_client, leavers)]
    for server in dying:
        server.kill()
    told = [leave_client(peer) for peer in leavers]
    assert await seconds_until(*stayers, told=told) < HEALED + SLACK
    assert await heard(*stayers) == [[], []]


async def test_a_killed_server_comes_back(start: Start, connect: Connect, room: str) -> None:
    """Its clients may join on it again before the others know that it was gone."""
    (stays,) = start(1, lease=1)
    (dies,) = start(1, lease=1, killed=True)
    stayer, leaver = await members(connect, room, stays, dies)
    dies.kill()
    (new,) = start(1, lease=1)
    back = await connect(new, room)
    told = [new_client(back), leave_client(leaver)]
    await seconds_until(stayer, told=told)
    assert await heard(stayer, back) in ([[], []], [[], [leave_client(leaver)]])


async def test_a_server_stands_still(start: Start, connect: Connect, room: str) -> None:
    """The others are told that its members have left, before it goes on.

    Then each of its members is told that the others have left, and is there anew.
    """
    stays, stands = start(2)
    peers = await members(connect, room, stays, stands, stays, stands)
    stayers, sleepers = peers[::2], peers[1::2]
    await stand_still(stands, stayers[0], sleepers)
    assert sorted(await stayers[1].received()) == sorted(map(leave_client, sleepers))
    await relays(stayers[0], stayers[1])
    await stayers[0].say("offer", client_id=sleepers[0].id, sdp="x")
    assert await stayers[0].received() == [failed("offer")]

    stands.send_signal(signal.SIGCONT)
    for stayer in stayers:
        assert {await stayer.receive() for _ in sleepers} == {*map(new_client, sleepers)}
    for sleeper in sleepers:
        told = await reaches(stayers[0], sleeper)
        assert sorted(told) == sorted(map(leave_client, stayers))
    assert await heard(*peers) == [[], [], [], []]


async def test_what_is_sent_to_a_server_that_stands_still(
    start: Start, connect: Connect, room: str
) -> None:
    """What was sent before its lease has ended is lost with its members, who leave after it.

    Nothing of it arrives when the server goes on, after the others were told that they are gone.
    """
    stays, stands = start(2)
    stayer, sleeper = await members(connect, room, stays, stands)
    stands.send_signal(signal.SIGSTOP)
    for _ in range(20):
        await stayer.say("offer", client_id=sleeper.id, sdp=FULL_SDP)
    while (text := await stayer.receive()) != leave_client(sleeper):
        assert text == failed("offer")
    stands.send_signal(signal.SIGCONT)
    assert await stayer.receive() == new_client(sleeper)
    assert await reaches(stayer, sleeper) == [leave_client(stayer)]
    assert await heard(stayer, sleeper) == [[], []]

    # What its own members have sent meanwhile comes back as errors.
    await stand_still(stands, stayer, [sleeper])
    for _ in range(20):
        await sleeper.say("offer", client_id=stayer.id, sdp="x")
    stands.send_signal(signal.SIGCONT)
    assert await stayer.receive() == new_client(sleeper)
    slept = await reaches(stayer, sleeper)
    stayed, late = await heard(stayer, sleeper)
    arrived = stayed.count(offer(sleeper, "x"))
    assert len(stayed) == arrived
    returned = [failed("offer")] * (20 - arrived)
    assert sorted(slept + late) == sorted([*returned, leave_client(stayer)])


async def test_a_client_leaves_a_server_that_stands_still(
    start: Start, connect: Connect, room: str
) -> None:
    """Nobody is told a second time when the server goes on and finds that the client has left."""
    stays, stands = start(2)
    stayer, sleeper, leaver = await members(connect, room, stays, stands, stands)
    await stand_still(stands, stayer, [sleeper, leaver])
    leaver.reset()
    stands.send_signal(signal.SIGCONT)
    assert await stayer.receive() == new_client(sleeper)
    slept = await reaches(stayer, sleeper)
    assert slept.count(leave_client(stayer)) == slept.count(leave_client(leaver)) == 1
    texts, late = await heard(stayer, sleeper)
    assert texts in ([], [new_client(leaver), leave_client(leaver)])
    assert late == []


async def test_a_short_standstill(start: Start, connect: Connect, room: str) -> None:
    """A server that stands still for less than its lease loses nothing, and nobody is told."""
    stays, stands = start(2, lease=1)
    stayer, sleeper = await members(connect, room, stays, stands)
    await looking(1)
    stands.send_signal(signal.SIGSTOP)
    for number in range(20):
        await stayer.say("offer", client_id=sleeper.id, sdp=f"{number}")
        await sleeper.say("offer", client_id=stayer.id, sdp=f"{number}")
    await asyncio.sleep(0.4)
    stands.send_signal(signal.SIGCONT)
    for number in range(20):
        assert await sleeper.receive() == offer(stayer, f"{number}")
        assert await stayer.receive() == offer(sleeper, f"{number}")
    assert await heard(stayer, sleeper) == [[], []]
