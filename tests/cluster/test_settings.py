"""How a server is told where Redis is, and what it says when it cannot use it."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.cluster.conftest import Connect, Start
from tests.cluster.members import heard, is_ready, members, status
from tests.support.server_process import ServerProcess, run_main, server_process
from tests.support.valkey import Valkey, free_port, running_valkey

PASSWORD = "s3cret/p@ss:word"
IN_A_URL = "s3cret%2Fp%40ss%3Aword"
OF_DEFAULT_USER = "another-s3cret"


@contextmanager
def protected(valkey: Valkey) -> Iterator[None]:
    """Let Valkey take OF_DEFAULT_USER, or PASSWORD from one who may do what the server needs."""
    with valkey.client() as redis:
        redis.acl_setuser(
            "signaling",
            enabled=True,
            passwords=[f"+{PASSWORD}"],
            keys=["{test-*}:*"],
            commands=[
                *("+evalsha", "+script|load", "+info", "+time", "+xadd", "+xread", "+xtrim"),
                *("+xlen", "+hget", "+hset", "+hdel", "+hgetall", "+hvals", "+hlen"),
                *("+zadd", "+zrem", "+zrange", "+zrangebyscore", "+zscore", "+get", "+set"),
                *("+exists", "+del", "+pexpire", "+pttl", "+client|setinfo", "+select"),
            ],
        )
        redis.config_set("requirepass", OF_DEFAULT_USER)
        try:
            yield
        finally:
            redis.config_set("requirepass", "")
            redis.acl_deluser("signaling")


def with_host(valkey: Valkey, **variables: str) -> dict[str, str]:
    return {"REDIS_URL": "", "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(valkey.port), **variables}


def no_secret(*servers: ServerProcess) -> None:
    """Check that no log has the password, as it is or as it is written in a URL."""
    for server in servers:
        text = "\n".join(server.lines)
        assert PASSWORD not in text
        assert IN_A_URL not in text
        assert "s3cret" not in text


async def test_ways_to_name_redis(
    valkey: Valkey, start: Start, connect: Connect, room: str
) -> None:
    """A URL, with a user or without, and the original's variables lead to the same Redis."""
    address = f"127.0.0.1:{valkey.port}"
    with protected(valkey):
        servers = [
            *start(1, REDIS_URL=f"redis://:{OF_DEFAULT_USER}@{address}"),
            *start(1, REDIS_URL=f"redis://signaling:{IN_A_URL}@{address}/0"),
            *start(1, **with_host(valkey, REDIS_PASSWORD=OF_DEFAULT_USER)),
            *start(
                1,
                **with_host(
                    valkey,
                    REDIS_PORT=f"tcp://10.0.0.1:{valkey.port}",
                    REDIS_USERNAME="signaling",
                    REDIS_PASSWORD=PASSWORD,
                    REDIS_DB="0",
                ),
            ),
        ]
        await is_ready(*servers)
        peers = await members(connect, room, *servers)
        assert await heard(*peers) == [[], [], [], []]
        no_secret(*servers)


async def test_unix_socket(start: Start, tmp_path: Path) -> None:
    """Redis may be reached through a Unix socket, without TCP."""
    with running_valkey(unix_socket=tmp_path / "valkey") as valkey:
        await is_ready(*start(1, REDIS_URL=valkey.url))


async def test_databases_are_apart(
    valkey: Valkey, start: Start, connect: Connect, room: str
) -> None:
    """Servers that use another REDIS_DB share nothing with these."""
    (one,) = start(1, **with_host(valkey))
    (other,) = start(1, **with_host(valkey, REDIS_DB="3"))
    peers = [await connect(server, room) for server in (one, other)]
    assert [await peer.received() for peer in peers] == [[], []]


async def test_without_configuration() -> None:
    """Without Redis the server is ready, and has imported nothing for it."""
    program = """if True:
        import sys
        import main
        try:
            main.main()
        finally:
            print("modules:", *sorted(sys.modules), file=sys.stderr)
    """
    root = Path(__file__).parents[2]
    command = (sys.executable, "-P", "-c", program)
    imported = {}
    for name, url in (("alone", ""), ("shared", "redis://127.0.0.1:1")):
        env = {"REDIS_URL": url, "PYTHONPATH": str(root)}
        with server_process(env=env, command=command) as server:
            assert await status(server, "/ready") == (503 if url else 200)
            assert await status(server, "/health") == 200
        modules = server.wait_for_line("modules: .*")[0].split()
        packages = {module.partition(".")[0] for module in modules}
        imported[name] = packages & {"services", "redis", "hiredis"}
    assert imported == {"alone": set(), "shared": {"services", "redis", "hiredis"}}


@asynccontextmanager
async def old_redis() -> AsyncIterator[str]:
    """Answer INFO as Redis 5 does, and all else as if it were known; yield the URL."""
    text = b"# Server\r\nredis_version:5.0.7\r\nrun_id:0123456789abcdef\r\n"
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while line := await reader.readline():
            parts = []
            for _ in range(int(line[1:])):
                length = int((await reader.readline())[1:])
                parts.append((await reader.readexactly(length + 2))[:-2])
            info = parts[0].upper() == b"INFO"
            writer.write(b"$%d\r\n%s\r\n" % (len(text), text) if info else b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield "redis://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def complaint(server: ServerProcess) -> str:
    """Return the only warning of the server, which comes within a second.

    In another second it has tried to connect several times.
    """
    await asyncio.to_thread(server.wait_for_line, "WARNING", 1)
    await asyncio.sleep(1)
    (line,) = [line for line in server.lines if not re.search(" (INFO|DEBUG) ", line)]
    assert [await status(server, path) for path in ("/health", "/ready")] == [200, 503]
    return line


async def test_wrong_password(valkey: Valkey, start: Start) -> None:
    """One line says that the password is wrong, and none which one it was."""
    with protected(valkey):
        (server,) = start(1, REDIS_URL=f"redis://signaling:s3cret@127.0.0.1:{valkey.port}")
        (other,) = start(1, **with_host(valkey))
        assert re.search("WARNING .*(?i:password)", await complaint(server))
        assert re.search("WARNING .*(?i:auth)", await complaint(other))
        no_secret(server, other)


async def test_unknown_host(start: Start) -> None:
    """One line names the host, but no password."""
    (server,) = start(1, REDIS_URL=f"redis://signaling:{IN_A_URL}@nobody.invalid:1234")
    assert "nobody.invalid" in await complaint(server)
    no_secret(server)


async def test_nobody_listens(start: Start) -> None:
    """One line names the address."""
    port = free_port()
    (server,) = start(1, REDIS_URL=f"redis://:{IN_A_URL}@127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in await complaint(server)
    no_secret(server)


async def test_redis_is_too_old(start: Start) -> None:
    """One line says which version it has, and which it takes."""
    async with old_redis() as url:
        (server,) = start(1, REDIS_URL=url)
        assert re.search(r"WARNING .*5\.0\.7.* 6\.2", await complaint(server))


@pytest.mark.slow
@pytest.mark.timeout(seconds=100)
async def test_complaints_are_a_minute_apart(start: Start) -> None:
    """What keeps the server from Redis is said again a minute later."""
    (server,) = start(1, REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    await complaint(server)
    await asyncio.sleep(60)
    assert sum("WARNING" in line for line in server.lines) == 2


@pytest.mark.parametrize("options", ["no_such_option=secret", "socket_timeout=secret"])
def test_an_option_that_the_library_does_not_know(options: str) -> None:
    """The server says so and does not start; the option may be a password."""
    run = run_main("-port", "0", env={"REDIS_URL": f"redis://:secret@127.0.0.1?{options}"})
    assert run.returncode == 2
    assert run.stderr == "REDIS_URL=... has an option that redis-py does not know\n"
