"""`-workers 2`: to whoever runs it, the server is one, whichever worker has to do with it."""

import asyncio
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.tokens import Tokens
from tests.support.client import close_frame, text_frame
from tests.support.cluster import wait_until_ready
from tests.support.peer import Peer, leave_client, message, new_client, offer
from tests.support.server_process import COMMAND, MAIN, ServerProcess, run_main
from tests.support.valkey import running_valkey
from tests.workers.conftest import Connect
from tests.workers.servers import SOON, room_of, two_workers, workers_of

pytestmark = pytest.mark.usefixtures("linux")

SECRET = "s" * 32
FAILING = "import main, process; process.keep_what_is_there = None; main.main()"
NO_ROOM = message("error", error="failed to join room")


# Its rooms


async def owners(server: ServerProcess, connect: Connect, rooms: list[str]) -> list[str]:
    """Return the number of each room's worker, as the log has it."""
    peer = await connect(server)
    found = []
    for room in rooms:
        await peer.join(room)
        pattern = rf"worker (\d): client {peer.id} at \S+ joined room '{room}'"
        found.append((await asyncio.to_thread(server.wait_for_line, pattern))[1])
    return found


async def test_nobody_can_tell_which_worker_has_a_room(connect: Connect) -> None:
    """It is another one on another server, but stays the same when a worker is started anew."""
    rooms = [f"room {number}" for number in range(20)]
    found = []
    for _ in range(2):
        with two_workers(SOON, command=COMMAND) as server:
            found.append(await owners(server, connect, rooms))
            os.kill(workers_of(server)[1], signal.SIGKILL)
            await asyncio.to_thread(server.wait_for_line, "starting another")
            assert await owners(server, connect, rooms) == found[-1]
    assert found[0] != found[1]
    assert {*found[0]} == {"0", "1"}


class Keys:
    """A file that a server may need: while it is away, no worker can be started anew."""

    def __init__(self, path: Path) -> None:
        key = Ed25519PrivateKey.generate().public_key()
        self._pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._path = path
        self.env = {"SIGNALING_AUTH_PUBLIC_KEYS": str(path), **SOON}
        self.put()

    def put(self) -> None:
        self._path.write_bytes(self._pem)

    def remove(self) -> None:
        self._path.unlink()


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys.pem")


async def lose(server: ServerProcess, worker: int, keys: Keys) -> None:
    """Have a server lose a worker until the keys are there again."""
    keys.remove()
    os.kill(workers_of(server)[worker], signal.SIGKILL)
    await asyncio.to_thread(server.wait_for_line, f"worker {worker} has ended with exit code 2", 10)


async def two_members(server: ServerProcess, room: str, allowed: str) -> tuple[Peer, Peer]:
    """Connect two members of a room, whose tokens are for the rooms that are `allowed`."""
    token = Tokens([SECRET]).mint(allowed, 60)
    one, two = [await Peer.connect(f"{server.url}?token={token}") for _ in range(2)]
    await one.join(room)
    await two.join(room)
    assert await one.receive() == new_client(two)
    return one, two


async def assert_together(one: Peer, two: Peer) -> None:
    await two.say("offer", client_id=one.id, sdp="still here")
    assert await one.receive() == offer(two, "still here")


async def test_a_client_that_may_not_join_stays_where_it_was() -> None:
    """What its token allows is known before it would move."""
    room = room_of(0)
    with two_workers({"SIGNALING_AUTH_SECRETS": SECRET, **SOON}) as server:
        one, two = await two_members(server, room, allowed=room)
        await two.say("join", room_id=room_of(1))
        assert await two.receive() == NO_ROOM
        await assert_together(one, two)
        one.abort()
        two.abort()


async def test_a_client_whose_new_worker_is_missing_stays_where_it_was(keys: Keys) -> None:
    """It waits for five seconds. When the worker is there again, it can join."""
    with two_workers({"SIGNALING_AUTH_SECRETS": SECRET, **keys.env}) as server:
        one, two = await two_members(server, room_of(0), allowed="*")
        await lose(server, 1, keys)
        await two.say("join", room_id=room_of(1))
        assert await two.receive() == NO_ROOM
        await assert_together(one, two)
        keys.put()
        await asyncio.to_thread(wait_until_ready, server)
        await two.join(room_of(1))
        assert await one.receive() == leave_client(two)
        one.abort()
        two.abort()


# Whether it is ready


async def statuses(server: ServerProcess, path: str = "/ready") -> list[int]:
    """Return what several connections are answered, some by one worker and some by the other."""
    found = []
    for _ in range(20):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        found.append(int((await reader.readline()).split()[1]))
        writer.transport.abort()
    return found


async def test_it_is_not_ready_while_a_worker_is_missing(keys: Keys) -> None:
    """`/health` has nothing to do with it."""
    with two_workers(keys.env) as server:
        assert await statuses(server) == [200] * 20
        await lose(server, 0, keys)
        assert await statuses(server) == [503] * 20
        assert await statuses(server, "/health") == [200] * 20
        keys.put()
        await asyncio.to_thread(wait_until_ready, server)
        assert await statuses(server) == [200] * 20


async def test_it_is_not_ready_without_redis() -> None:
    """All workers say the same, within half a second."""
    with running_valkey() as valkey:
        env = {"REDIS_URL": valkey.url, "SIGNALING_CLUSTER_LEASE": "0.5", **SOON}
        with two_workers(env) as server:
            valkey.kill()
            await until_all(server, 503)
            valkey.start()
            await until_all(server, 200)


async def until_all(server: ServerProcess, status: int) -> None:
    async with asyncio.timeout(20):
        while await statuses(server) != [status] * 20:
            pass


# Its log


async def test_clients_cause_as_many_records_as_with_one_process(
    server: ServerProcess, connect: Connect
) -> None:
    """Both workers together write a hundred in a second, and one that counts those left out."""
    joins = 0
    peers = [await connect(server, room_of(worker)) for worker in range(2)]
    started = time.monotonic()
    while time.monotonic() < started + 4:
        joins += 100
        for worker, peer in enumerate(peers):
            rooms = [room_of(worker) for _ in range(100)]
            peer.write(b"".join(text_frame(message("join", room_id=room)) for room in rooms))
        for peer in peers:
            await peer.received()
    for peer in peers:
        peer.write(close_frame(1000))
        assert await peer.closed() == 1000
    seconds = time.monotonic() - started
    server.send_signal(signal.SIGTERM)
    await asyncio.to_thread(server.wait)
    records = [line for line in server.lines if "joined" in line or "left room" in line]
    assert 90 <= len(records) <= 90 * (seconds + 2)
    missing = [line for line in server.lines if "left out" in line]
    assert all(re.search(r" WARNING \d+ log records were left out$", line) for line in missing)
    assert len(missing) <= seconds + 3  # The ends of a worker and of the server are two reasons.
    assert len(records) + sum(int(line.split()[3]) for line in missing) == 2 * 2 * (joins + 1)


async def test_redis_is_missed_once() -> None:
    """Not by each worker for itself: each reason is given once."""
    with running_valkey() as valkey:
        with two_workers({"REDIS_URL": valkey.url, **SOON}) as server:
            valkey.kill()
            await asyncio.to_thread(server.wait_for_line, "redis: .*connect")
            await asyncio.sleep(1)  # Each worker has tried again five times, at least.
        reasons = [line.partition("redis: ")[2] for line in server.lines if "redis: " in line]
    assert sorted(reasons) == sorted({*reasons})


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({"SIGNALING_AUTH_PUBLIC_KEYS": "nowhere"}, "SIGNALING_AUTH_PUBLIC_KEYS='nowhere': "),
        ({"REDIS_URL": "redis://127.0.0.1/?colour=red"}, "REDIS_URL=... has an option that "),
    ],
)
def test_what_is_invalid_is_said_once(env: dict[str, str], text: str) -> None:
    """This is found by workers, unlike what is wrong in a flag."""
    ended = run_main("-workers", "4", "-port", "0", env=env)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert text in line


def test_a_first_worker_that_fails_is_not_tried_again() -> None:
    """One process would end, too, for whatever reason."""
    command = [*COMMAND[:1], "-c", FAILING, "-workers", "2", "-port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=10, cwd=MAIN.parent)
    assert ended.returncode == 1
    assert ended.stderr.count("Traceback") == 1


def test_a_port_that_is_taken(server: ServerProcess) -> None:
    ended = run_main("-workers", "2", "-addr", "127.0.0.1", "-port", str(server.port))
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "cannot listen on" in line
