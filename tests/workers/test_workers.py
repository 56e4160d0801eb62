"""`-workers 2`: one server of two processes, each of which has some of the rooms."""

import asyncio
import os
import resource
import signal
import time
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.edge.asking import ice_servers
from tests.support.client import (
    TIME_LIMIT,
    ClosedError,
    HandshakeError,
    Opcode,
    close_frame,
    frame,
    text_frame,
)
from tests.support.peer import failed, leave_client, message, new_client, offer
from tests.support.server_process import ServerProcess, run_main, server_process
from tests.support.valkey import running_valkey
from tests.support.waiting import until
from tests.workers.conftest import Connect
from tests.workers.servers import COMMAND, SOON, room_of, two_workers, workers_of

pytestmark = pytest.mark.usefixtures("linux")


def files_of(pid: int) -> set[int]:
    """Return the numbers of the files that a process has open."""
    return {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}


async def test_members_meet_wherever_they_were_accepted(
    server: ServerProcess, connect: Connect
) -> None:
    for number in range(6):
        room = room_of(number % 2)
        one = await connect(server, room)
        two = await connect(server, room)
        assert await one.receive() == new_client(two)
        await one.say("offer", client_id=two.id, sdp="x" * 7300)
        assert await two.receive() == offer(one, "x" * 7300)
        two.abort()
        assert await one.receive() == leave_client(two)


async def test_a_client_that_moves_keeps_its_id_and_its_order(
    server: ServerProcess, connect: Connect
) -> None:
    """What it sends behind the join is handled there, also a message that is not complete yet."""
    peer = await connect(server, room_of(0))
    for worker in (1, 0, 1):
        await peer.say("offer", client_id=peer.id, sdp="before")
        stream = [text_frame(message("join", room_id=room_of(worker)))]
        stream += [text_frame(message("offer", client_id=peer.id, sdp=f"{n}")) for n in range(50)]
        stream += [frame(Opcode.PING, b"now")]
        long = message("offer", client_id=peer.id, sdp="x" * 200_000).encode()
        stream += [frame(Opcode.TEXT, long[:50_000], fin=False), frame(Opcode.PING, b"between")]
        last = frame(Opcode.CONTINUATION, long[50_000:])
        peer.write(b"".join(stream) + last[:100_000])
        assert await peer.receive() == offer(peer, "before")
        for number in range(50):
            assert await peer.receive() == offer(peer, f"{number}")
        for data in (b"now", b"between"):
            received = await peer.receive_frame()
            assert (received.opcode, received.payload) == (Opcode.PONG, data)
        peer.write(last[100_000:])
        assert await peer.receive() == offer(peer, "x" * 200_000)


async def test_its_former_room_is_told(server: ServerProcess, connect: Connect) -> None:
    room = room_of(0)
    stays = await connect(server, room)
    goes = await connect(server, room)
    assert await stays.receive() == new_client(goes)
    await goes.join(room_of(1))
    assert await stays.receive() == leave_client(goes)
    await stays.say("offer", client_id=goes.id, sdp="")
    assert await stays.receive() == failed("offer")


async def test_what_it_has_not_read_comes_first(server: ServerProcess, connect: Connect) -> None:
    """It moves when the system has taken all that was written, which is bounded in time."""
    peer = await connect(server, room_of(0), receive_buffer=32 * 1024)
    peer.stop_reading()
    for number in range(30):
        await peer.say("offer", client_id=peer.id, sdp=f"{number}" * 50_000)
    await peer.say("join", room_id=room_of(1))
    await peer.say("offer", client_id=peer.id, sdp="there")
    await asyncio.sleep(0.2)  # It has to wait, which nothing shows.
    peer.resume_reading()
    for number in range(30):
        assert await peer.receive() == offer(peer, f"{number}" * 50_000)
    assert await peer.receive() == offer(peer, "there")


@pytest.mark.parametrize("end", ["close", "abort", "reset"])
async def test_a_client_that_ends_behind_its_join(
    server: ServerProcess, connect: Connect, end: str
) -> None:
    """It may have been a member for a moment, and then it is none."""
    room = room_of(1)
    stays = await connect(server, room)
    visitors = []
    for _ in range(5):
        goes = await connect(server, room_of(0))
        visitors.append(goes)
        goes.write(text_frame(message("join", room_id=room)))
        if end == "close":
            goes.write(close_frame(1000))
            with pytest.raises(ClosedError) as closed:
                await goes.receive()
            assert closed.value.code == 1000
        elif end == "reset":
            goes.reset()
        else:
            goes.abort()
    seen: list[str] = []
    async with asyncio.timeout(TIME_LIMIT):
        while not seen or any(
            new_client(each) in seen and leave_client(each) not in seen for each in visitors
        ):
            seen += [*await stays.received(), "nothing more for now"]
    for each in visitors:
        about = [text for text in seen if each.id in text]
        assert about in ([], [new_client(each), leave_client(each)])


async def test_a_worker_that_dies(server: ServerProcess, connect: Connect) -> None:
    """Its clients see a closed connection, the others nothing, and another takes its place."""
    rooms = room_of(0), room_of(1)
    pairs = [[await connect(server, room) for _ in range(2)] for room in rooms]
    for one, two in pairs:
        assert await one.receive() == new_client(two)
    before = workers_of(server)
    os.kill(before[1], signal.SIGKILL)
    for peer in pairs[1]:
        with pytest.raises(ClosedError):
            await peer.receive()
    one, two = pairs[0]
    await one.say("offer", client_id=two.id, sdp="still here")
    assert await two.receive() == offer(one, "still here")
    await asyncio.to_thread(
        server.wait_for_line, "ERROR worker 1 has ended with signal 9, starting another"
    )
    peer = await connect(server, rooms[1])  # It may have to wait for that.
    await peer.say("offer", client_id=peer.id, sdp="again")
    assert await peer.receive() == offer(peer, "again")
    assert len(workers_of(server)) == 2
    assert before[0] in workers_of(server)


async def test_stopping(server: ServerProcess, connect: Connect) -> None:
    """As with one process, each client is closed with 1001."""
    peers = [await connect(server, room_of(number % 2)) for number in range(4)]
    server.send_signal(signal.SIGTERM)
    for peer in peers:
        assert await peer.closed() == 1001
    assert await asyncio.to_thread(server.wait) == 0


async def test_workers_do_not_outlive_their_parent(connect: Connect) -> None:
    with two_workers(exit_code=-signal.SIGKILL) as server:
        peer = await connect(server, room_of(1))
        pids = workers_of(server)
        server.kill()
        assert await peer.closed() == 1001
        await until(lambda: not any(_lives(pid) for pid in pids))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_one_for_each_processor() -> None:
    with server_process("-workers", "0") as server:
        processors = len(os.sched_getaffinity(0))
        if processors > 1:
            await until(lambda: len(workers_of(server)) == processors)
        else:
            assert workers_of(server) == []


async def test_who_moves_again_and_again_has_to_wait(
    server: ServerProcess, connect: Connect
) -> None:
    """Forty moves at once are free, and ten in a second after that."""
    peer = await connect(server, room_of(0))
    begin = time.monotonic()
    for number in range(46):
        await peer.join(room_of(number % 2))
    assert time.monotonic() - begin > 0.4


async def test_who_has_just_moved_waits_for_others(server: ServerProcess, connect: Connect) -> None:
    """Many that move to and fro do not hold up a newcomer, but for those on their way already."""
    former, room = room_of(0), room_of(1)
    there = await connect(server, room)
    movers = [await connect(server, room_of(1)) for _ in range(60)]
    here = await connect(server, former)
    for mover in movers:
        await mover.join(room_of(0))
    busy = workers_of(server)[1]
    os.kill(busy, signal.SIGSTOP)
    try:
        newcomer = await connect(server, former)
        assert await here.receive() == new_client(newcomer)
        for mover in movers:
            await mover.say("join", room_id=room)
        await newcomer.say("join", room_id=room)
        assert await here.receive() == leave_client(newcomer)
        await here.received()
    finally:
        os.kill(busy, signal.SIGCONT)
    told = [await there.receive() for _ in range(61)]
    assert told.index(new_client(newcomer)) < 40


async def test_a_large_room_is_left_in_turn(server: ServerProcess, connect: Connect) -> None:
    room = room_of(0)
    members = [await connect(server, room) for _ in range(13)]
    await members[0].say("join", room_id=room_of(1))
    for each in members[1:]:
        while (text := await each.receive()) != leave_client(members[0]):
            assert "new-client" in text


async def test_no_file_is_left(server: ServerProcess, connect: Connect) -> None:
    """A client that cannot be handed over is told to come again."""
    peer = await connect(server, room_of(0))
    pid = workers_of(server)[0]
    free = next(number for number in count() if number not in files_of(pid))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, free))
    await peer.say("join", room_id=room_of(1))
    assert await peer.closed() == 1013


async def test_a_byte_rate_goes_along(connect: Connect) -> None:
    """A client that moves does not begin with a new burst, which is 128 KiB."""
    with two_workers({"SIGNALING_BYTE_RATE": "100000", **SOON}) as server:
        peer = await connect(server, room_of(0))
        begin = time.monotonic()
        for number in range(6):
            for _ in range(6):
                peer.write(text_frame(message("offer", client_id=peer.id, sdp="x" * 9000)))
            peer.write(text_frame(message("join", room_id=room_of((number + 1) % 2))))
        for _ in range(36):
            assert await peer.receive() == offer(peer, "x" * 9000)
        assert time.monotonic() - begin > 1.5


async def test_children_of_others(connect: Connect) -> None:
    """The first process of a container is given orphans, and has to wait for them."""
    orphan = ("sh", "-c", 'sleep 0.3 & exec "$@"', "sh", *COMMAND)
    with two_workers(SOON, command=orphan) as server:
        await connect(server, room_of(1))


async def test_a_worker_that_cannot_be_replaced_yet(connect: Connect, tmp_path: Path) -> None:
    """When a file of the settings is being replaced, the other workers go on."""
    keys = tmp_path / "keys.pem"
    key = Ed25519PrivateKey.generate().public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    keys.write_bytes(pem)
    env = {"SIGNALING_AUTH_PUBLIC_KEYS": str(keys), **SOON}
    with two_workers(env) as server:
        stays, goes = workers_of(server)
        keys.unlink()
        os.kill(goes, signal.SIGKILL)
        await asyncio.to_thread(
            server.wait_for_line, "ERROR worker 1 has ended with exit code 2", 10
        )
        keys.write_bytes(pem)
        await until(lambda: len(workers_of(server)) == 2)
        assert stays in workers_of(server)
        assert (await ice_servers(server.url)).status == 401


async def test_limits_are_those_of_all_workers(connect: Connect) -> None:
    """What a worker that has died had counted is counted no more."""
    env = {"SIGNALING_MAX_CONNECTIONS_PER_ADDRESS": "4", "SIGNALING_CONNECTION_RATE": "11", **SOON}
    with two_workers(env) as server:
        peers = [await connect(server, room_of(number % 2)) for number in range(4)]
        for _ in range(3):
            with pytest.raises(HandshakeError) as refused:
                await connect(server)
            assert refused.value.response.status == 429
            assert "retry-after" not in refused.value.response.headers
        await peers[0].join(room_of(1))
        os.kill(workers_of(server)[1], signal.SIGKILL)
        for peer in peers:
            peer.abort()
        async with asyncio.timeout(TIME_LIMIT):
            for _ in range(4):
                while (await ice_servers(server.url)).status != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await connect(server)
        # Each attempt is charged for five seconds, by whichever worker.
        told: list[str] = []
        for _ in range(5):
            with pytest.raises(HandshakeError) as refused:
                await connect(server)
            told += [refused.value.response.headers.get("retry-after", "")]
        assert int(told[-1]) in range(1, 7)


async def test_a_full_room(connect: Connect) -> None:
    """A client that is not let in has left its former room, unlike with one process."""
    env = {"SIGNALING_MAX_ROOM_SIZE": "1", **SOON}
    with two_workers(env) as server:
        full, former = room_of(1), room_of(0)
        await connect(server, full)
        peer = await connect(server, former)
        await peer.say("join", room_id=full)
        assert await peer.receive() == message("error", error="failed to join room")
        await connect(server, former)


async def test_rooms_are_shared_with_other_servers_too(connect: Connect) -> None:
    with running_valkey() as valkey:
        env = {"REDIS_URL": valkey.url, **SOON}
        with two_workers(env) as one, two_workers(env) as two:
            for worker in (0, 1):
                room, other = room_of(worker), room_of(1 - worker)
                here = await connect(one, room)
                there = await connect(two, room)
                assert await here.receive() == new_client(there)
                await there.say("offer", client_id=here.id, sdp="x")
                assert await here.receive() == offer(there, "x")
                elsewhere = await connect(one, other)
                await there.join(other)
                assert await here.receive() == leave_client(there)
                assert await elsewhere.receive() == new_client(there)


@pytest.mark.parametrize(
    ("flags", "env", "text"),
    [
        (["-workers", "-1"], {}, 'invalid value "-1" for flag -workers: not from 0 to 1024'),
        (["-workers", "2"], {"SIGNALING_TRANSPORT": "tornado"}, "-workers cannot be used with"),
        (["-workers", "2", "-tls-cert", "c", "-tls-key", "k"], {}, "-workers cannot be used with"),
        (
            ["-workers", "2"],
            {"SIGNALING_AUTH_PUBLIC_KEYS": "nowhere"},
            "AUTH_PUBLIC_KEYS='nowhere'",
        ),
        ([], {"SIGNALING_WORKERS": "many"}, "SIGNALING_WORKERS='many' is not a number of"),
    ],
)
def test_invalid_settings(flags: list[str], env: dict[str, str], text: str) -> None:
    ended = run_main(*flags, env=env)
    assert ended.returncode == 2
    assert text in ended.stderr.splitlines()[0]
