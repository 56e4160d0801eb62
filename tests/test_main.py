"""The command line, the settings and the life of the process, as a user meets them."""

import asyncio
import itertools
import json
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.client import ClosedError, Opcode, frame, text_frame, upgrade_request
from tests.support.peer import INVALID_MESSAGE, Peer, message, new_client
from tests.support.proc import PROC, cpu_time, needs_proc, open_files
from tests.support.server_process import (
    COMMAND,
    MAIN,
    TESTS,
    TRANSPORTS,
    ServerProcess,
    Transport,
    run_main,
    server_process,
)
from tests.support.waiting import until
from version import VERSION

CHANGELOG = TESTS.parent / "CHANGELOG.md"

USAGE = re.compile("^usage", re.IGNORECASE)

# An address for documentation (RFC 5737), which no machine has.
NOT_OURS = "192.0.2.1"

HALF_A_REQUEST = b"GET /connect HTTP/1.1\r\nHost: localhost\r\n"
HALF_A_BODY = b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"
SECRET = "a=ice-pwd:xxxxxxxxxxxxxxxxxxxxxx"
SDP = f"v=0\r\n{SECRET}\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADE = upgrade_request("localhost", "/connect")


@dataclass(frozen=True)
class Client:
    """A connection that has been given its id."""

    id: str
    socket: ClientConnection

    async def send(self, kind: str, **payload: object) -> None:
        await self.socket.send(json.dumps({"type": kind, "payload": payload}))

    async def receive(self) -> Any:
        return json.loads(await self.socket.recv())

    async def join(self, room_id: str) -> None:
        await self.send("join", room_id=room_id)
        # A join is not acknowledged, but a ping is answered after everything that came before it.
        await (await self.socket.ping())

    def fall_silent(self) -> None:
        """Read nothing any more, so that neither pings nor a close are answered."""
        self.socket.transport.pause_reading()


@asynccontextmanager
async def client(server: ServerProcess) -> AsyncIterator[Client]:
    async with asyncio.timeout(15):
        connection = await connect(server.url, proxy=None)
        try:
            first = json.loads(await connection.recv())
            yield Client(first["payload"]["client_id"], connection)
        finally:
            # close() would wait for an answer from a client that has fallen silent.
            connection.transport.abort()
            await connection.wait_closed()


@asynccontextmanager
async def raw_connection(
    server: ServerProcess, sent: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a TCP connection and send data on it."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        try:
            writer.write(sent)
            await writer.drain()
            yield reader, writer
        finally:
            writer.transport.abort()


@contextmanager
def lowered_file_limit(soft: int) -> Iterator[None]:
    """Lower the limit of open files for this process and those that it starts meanwhile."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def wanted_port(*flags: str, env: dict[str, str] | None = None, cwd: Path = TESTS) -> int:
    """Return the port that the server wants with these, at an address that it cannot have."""
    ended = run_main("-addr", NOT_OURS, *flags, env=env or {}, cwd=cwd)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    match = re.search(rf"{NOT_OURS}:(\d+)", line)
    assert match, line
    return int(match[1])


# Flags


@pytest.mark.parametrize(
    "flags",
    [
        "-port 4321",
        "--port 4321",
        "-port=4321",
        "--port=4321",
        "-port 1 --port=2 -port 4321",
        "-port=0x10e1",
        "-port=4_321 --",
    ],
)
def test_port_flag(flags: str) -> None:
    """The flag has one dash or two, its value follows a space or an equals sign, and the last wins.

    The number is a literal of Go.
    """
    assert wanted_port(*flags.split()) == 4321


@pytest.mark.parametrize(
    "flags", ["-addr {}", "--addr {}", "-addr={}", "-addr 127.0.0.1 --addr={}"]
)
def test_addr_flag(flags: str) -> None:
    """The address is given in the same ways, and the last one wins here too."""
    ended = run_main(*flags.format(NOT_OURS).split(), "-port", "4321")
    assert ended.returncode == 1
    assert f"{NOT_OURS}:4321" in ended.stderr


def test_default_address() -> None:
    """Without `-addr` the server listens on every interface."""
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))  # It never listens; it only keeps others from getting the port.
        port = holder.getsockname()[1]
        ended = run_main("-port", str(port))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.search(rf"(?<![\w.])0\.0\.0\.0:{port}\b", ended.stderr)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ("-prot 5000", "-prot"),
        ("-p 5000", "-p"),
        ("--po=5000", "-po"),
        ("--nonsense", "-nonsense"),
        ("-port 5000 -x=1", "-x"),
        ("-port", "-port"),
        ("-port=", "-port"),
        ("-port abc", "-port"),
        ("-port=70000", "-port"),
        ("-port -1", "-port"),
        ("-addr", "-addr"),
        ("-demo=", "-demo"),
        ("-demo=yes", "-demo"),
        ("--demo=tRUE", "-demo"),
        ("-demo true", "true"),
        ("-port 5e1", "-port"),
        ("-port=0.0", "-port"),
        ("-port -demo", "-port"),
        ("extra", "extra"),
        ("-port 5000 extra", "extra"),
    ],
)
def test_bad_flag(args: str, named: str) -> None:
    """A bad or unknown flag and a stray argument are named above the usage, with exit code 2."""
    ended = run_main("-addr", NOT_OURS, *args.split())
    assert (ended.returncode, ended.stdout) == (2, "")
    first, *rest = ended.stderr.splitlines()
    assert re.search(rf"(?<![\w-]){named}(?!\w)", first)
    assert not USAGE.match(first)
    assert any(USAGE.match(line) for line in rest)


@pytest.mark.parametrize(
    ("flags", "served"),
    [
        ("", False),
        *((f"-demo={text}", True) for text in ("1", "t", "T", "true", "TRUE", "True")),
        *((f"--demo={text}", False) for text in ("0", "f", "F", "false", "FALSE", "False")),
        ("-demo", True),
        ("--demo", True),
        ("-demo -demo=false", False),
        ("-demo=0 --demo", True),
    ],
)
def test_demo_flag(flags: str, served: bool) -> None:
    """`-demo` alone is true; after an equals sign it takes what Go reads as a boolean.

    If the demo is served, the log gives its URL right after "listening".
    """
    with server_process(*flags.split()) as server:
        pass
    told = [line for line in server.lines if "demo" in line]
    if served:
        assert [line.partition(" INFO ")[2] for line in server.lines[1:3]] == [
            f"listening on 127.0.0.1:{server.port}",
            f"demo: http://localhost:{server.port}/",
        ]
    assert len(told) == served


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
@pytest.mark.parametrize(
    ("addr", "host"),
    [("0.0.0.0", "localhost"), ("", "localhost"), ("localhost", "localhost"), ("127.1.2.3",) * 2],
)
def test_demo_address(addr: str, host: str) -> None:
    """The demo's URL has the address only if the server cannot be reached as `localhost`."""
    with server_process("-addr", addr, "-demo") as server:
        server.wait_for_line(rf" demo: http://{re.escape(host)}:{server.port}/$")


@pytest.mark.parametrize("flag", ["-h", "-help", "--help"])
def test_help(flag: str) -> None:
    """`-h` prints the flags with their defaults and exits with 0."""
    ended = run_main(flag)
    assert ended.returncode == 0
    text = ended.stdout + ended.stderr
    assert USAGE.match(text)
    assert re.search(r"-addr\b.*\b0\.0\.0\.0\b.*-port\b.*\b5000\b", text, re.DOTALL)


@pytest.mark.parametrize("flag", ["-version", "--version", "-version=true"])
def test_version(flag: str) -> None:
    """`-version` prints the latest version in CHANGELOG.md, and starts nothing."""
    ended = run_main(flag)
    assert (ended.returncode, ended.stdout) == (0, f"pysignaling {VERSION}\n")
    (newest, *_) = re.findall(r"^## (\d[\w.]*)", CHANGELOG.read_text(), re.MULTILINE)
    assert newest == VERSION


# The address


def test_port_in_use() -> None:
    """If the port is in use, one line says so, without "listening", and the exit code is 1."""
    with server_process() as server:
        ended = run_main("-addr", server.host, "-port", str(server.port))
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert f"{server.host}:{server.port}" in line
    assert "listening" not in line
    assert line.endswith("(choose another with -port)")


@pytest.mark.parametrize("addr", [NOT_OURS, "no..name"], ids=["not-ours", "no-name"])
def test_invalid_address(addr: str) -> None:
    """An address that cannot be listened on is named on one line, with exit code 1."""
    ended = run_main("-addr", addr, "-port", "0")
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert addr in line


async def test_listening_is_logged_after_the_bind() -> None:
    """The server says "listening" when it does, with the port that it got for port 0."""
    with server_process("-port=0") as server:
        assert server.port != 0
        async with client(server):
            pass


# The environment


def test_port_from_the_environment() -> None:
    """`PORT` is the port if no flag gives one."""
    assert wanted_port(env={"PORT": "4321"}) == 4321


def test_flag_wins_over_the_environment() -> None:
    """An explicit `-port` takes precedence over `PORT`."""
    assert wanted_port("-port", "4321", env={"PORT": "1"}) == 4321


@pytest.mark.parametrize("env", [{}, {"PORT": ""}], ids=["unset", "empty"])
def test_default_port(env: dict[str, str]) -> None:
    """The port is 5000 if neither a flag nor `PORT` gives one; an empty `PORT` does not."""
    assert wanted_port(env=env) == 5000


def test_env_file(tmp_path: Path) -> None:
    """A `.env` in the working directory is read."""
    (tmp_path / ".env").write_text("# where\nPORT=4321\n")
    assert wanted_port(cwd=tmp_path) == 4321


def test_environment_wins_over_env_file(tmp_path: Path) -> None:
    """The real environment takes precedence over `.env`."""
    (tmp_path / ".env").write_text("PORT=1\n")
    assert wanted_port(env={"PORT": "4321"}, cwd=tmp_path) == 4321


def test_only_the_working_directory_has_an_env_file(tmp_path: Path) -> None:
    """A `.env` above the working directory is not read."""
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / ".env").write_text("PORT=1\n")
    assert wanted_port(cwd=below) == 5000


@pytest.mark.parametrize(
    "setting",
    [
        "PORT=abc",
        "PORT=70000",
        "PORT=-1",
        "PORT=0.0",
        "PORT=5e1",
        "PORT=0x10",
        "SIGNALING_MAX_MESSAGE_SIZE=0",
        "SIGNALING_MAX_MESSAGE_SIZE=1.5",
        "SIGNALING_MAX_ROOM_NAME=-1",
        "SIGNALING_MAX_SEND_BUFFER=4MiB",
        "SIGNALING_MAX_BUFFERED=1GiB",
        "SIGNALING_MAX_BUFFERED=-1",
        "SIGNALING_MAX_BUFFERED=0.25",
        "SIGNALING_HANDSHAKE_TIMEOUT=0",
        "SIGNALING_KEEPALIVE_INTERVAL=nan",
        "SIGNALING_PING_INTERVAL=inf",
        "SIGNALING_PING_TIMEOUT=31",
        "SIGNALING_SHUTDOWN_TIMEOUT=-3",
        "SIGNALING_LOG_LEVEL=LOUD",
        "SIGNALING_ICE_SERVERS=stun:stun.example",
    ],
)
def test_bad_setting(setting: str) -> None:
    """A variable with an invalid value is named on one line, with exit code 2."""
    name, value = setting.split("=")
    ended = run_main("-addr", NOT_OURS, env={name: value})
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert name in line


def test_unknown_setting() -> None:
    """An unknown variable with the prefix is named with the nearest setting, with exit code 2."""
    ended = run_main("-addr", NOT_OURS, env={"SIGNALING_LOGLEVEL": "DEBUG"})
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert "SIGNALING_LOGLEVEL" in line
    assert "SIGNALING_LOG_LEVEL?" in line


def test_settings_of_other_programs() -> None:
    """Variables without the prefix, and those that Kubernetes sets, do not stop the start."""
    others = {
        "LOG_LEVEL": "verbose",
        "TRANSPORT": "udp",
        "SIGNALING_PORT": "tcp://10.0.0.1:5000",
        "SIGNALING_SERVICE_HOST": "10.0.0.1",
        "SIGNALING_PORT_5000_TCP_ADDR": "10.0.0.1",
    }
    assert wanted_port(env=others) == 5000


@pytest.mark.parametrize(
    "content", ["# where\nPORT\n", "\nPORT='4321\n", "\nPO-RT=4321", "\nPORT=4321\0"]
)
def test_env_file_that_cannot_be_read(content: str, tmp_path: Path) -> None:
    """A line of `.env` that cannot be read is given by its number on one line, with exit code 2."""
    (tmp_path / ".env").write_text(content)
    ended = run_main("-addr", NOT_OURS, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert ".env, line 2:" in line


def test_env_file_that_is_a_directory(tmp_path: Path) -> None:
    """A `.env` that is a directory, as containers make it, gets one line and exit code 2."""
    (tmp_path / ".env").mkdir()
    ended = run_main("-addr", NOT_OURS, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert ".env" in line


def test_bad_setting_in_env_file(tmp_path: Path) -> None:
    """An invalid value in `.env` is treated like one in the environment."""
    (tmp_path / ".env").write_text("SIGNALING_PING_INTERVAL=often\n")
    ended = run_main("-addr", NOT_OURS, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert "SIGNALING_PING_INTERVAL" in line


# Settings at work


async def test_keepalive() -> None:
    """A client gets `{"type":"ping"}` every `SIGNALING_KEEPALIVE_INTERVAL` seconds."""
    with server_process(env={"SIGNALING_KEEPALIVE_INTERVAL": "0.2"}) as server:
        async with client(server) as idle:
            started = asyncio.get_running_loop().time()
            for _ in range(3):
                assert await idle.socket.recv() == '{"type":"ping"}'
            assert asyncio.get_running_loop().time() - started > 0.5


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /conn", HALF_A_REQUEST, HALF_A_BODY],
    ids=["nothing", "half-a-line", "half-a-head", "half-a-body"],
)
async def test_handshake_timeout(sent: bytes) -> None:
    """A request is dropped if it has not arrived after `SIGNALING_HANDSHAKE_TIMEOUT` seconds.

    Open clients stay.
    """
    with server_process(env={"SIGNALING_HANDSHAKE_TIMEOUT": "0.3"}) as server:
        async with client(server) as open_client, raw_connection(server, sent) as (reader, _):
            async with asyncio.timeout(2):
                await reader.read()
            await (await open_client.socket.ping())


async def test_handshake_timeout_is_for_the_whole_request() -> None:
    """A request that keeps arriving byte by byte is dropped all the same."""
    with server_process(env={"SIGNALING_HANDSHAKE_TIMEOUT": "0.3"}) as server:
        async with raw_connection(server, HALF_A_REQUEST) as (reader, writer), asyncio.timeout(2):
            ended = asyncio.create_task(reader.read())
            while not (await asyncio.wait([ended], timeout=0.05))[0]:
                writer.write(b"X")
            # Bytes that are on their way when the server closes turn the end into a reset.
            assert not ended.exception() or isinstance(ended.exception(), ConnectionResetError)


async def test_idle_timeout() -> None:
    """An answered connection waits `SIGNALING_IDLE_TIMEOUT` seconds for its next request."""
    env = {"SIGNALING_HANDSHAKE_TIMEOUT": "0.1", "SIGNALING_IDLE_TIMEOUT": "0.5"}
    for transport in TRANSPORTS:
        with server_process(env={**env, "SIGNALING_TRANSPORT": transport}) as server:
            async with raw_connection(server, HEALTH) as (reader, writer), asyncio.timeout(2):
                assert (await reader.readuntil(b"\r\n\r\nOK")).startswith(b"HTTP/1.1 200")
                await asyncio.sleep(0.3)  # This is longer than a request may take.
                writer.write(HEALTH)
                assert (await reader.readuntil(b"\r\n\r\nOK")).startswith(b"HTTP/1.1 200")
                assert await reader.read() == b""


@pytest.mark.parametrize(
    ("interval", "timeout"),
    [(0.5, 0.5), (3, 0.1)],
)
async def test_vanished_peer(interval: float, timeout: float) -> None:
    """A peer that answers no WebSocket ping is gone after the ping's interval and timeout.

    Its room is told, and others stay.
    """
    env = {
        "SIGNALING_PING_INTERVAL": str(interval),
        "SIGNALING_PING_TIMEOUT": str(timeout),
        "SIGNALING_TRANSPORT": "auto",
    }
    with server_process(env=env) as server:
        async with client(server) as vanishing, client(server) as staying:
            await vanishing.join("room")
            await staying.join("room")
            vanishing.fall_silent()
            async with asyncio.timeout(interval + timeout + 2):
                told = await staying.receive()
            assert told == {"type": "leave-client", "payload": {"client_id": vanishing.id}}
            await (await staying.socket.ping())


async def test_max_message_size() -> None:
    """A message of more than `SIGNALING_MAX_MESSAGE_SIZE` bytes closes its connection with 1009."""
    with server_process(env={"SIGNALING_MAX_MESSAGE_SIZE": "100"}) as server:
        async with client(server) as talker:
            await talker.socket.send(f"{'just fits':<100}")
            assert (await talker.receive())["payload"] == {"error": "invalid message"}
            await talker.socket.send(f"{'does not':<101}")
            await talker.socket.wait_closed()
            assert talker.socket.close_code == 1009


async def test_max_room_name() -> None:
    """A room name of more than `SIGNALING_MAX_ROOM_NAME` characters is an invalid payload."""
    with server_process(env={"SIGNALING_MAX_ROOM_NAME": "3"}) as server:
        async with client(server) as talker:
            await talker.send("join", room_id="äöü")
            await talker.send("join", room_id="four")
            assert (await talker.receive())["payload"] == {"error": "invalid payload"}


@asynccontextmanager
async def connected(server: ServerProcess, number: int) -> AsyncIterator[list[Peer]]:
    """Connect so many clients, which are gone at the end."""
    peers = [await Peer.connect(server.url) for _ in range(number)]
    try:
        yield peers
    finally:
        for peer in peers:
            peer.abort()
            with suppress(ConnectionError):
                await peer.writer.wait_closed()


async def half_a_message(peer: Peer, size: int) -> None:
    """Send so many bytes of a message, and wait until the server has them."""
    await peer.send(frame(Opcode.TEXT, b" " * size, fin=False) + frame(Opcode.PING))
    assert (await peer.receive_frame()).opcode is Opcode.PONG


async def test_max_buffered() -> None:
    """When three quarters of `SIGNALING_MAX_BUFFERED` are used, those that have most are closed.

    That is with 1013, and until half of it is left to the others, who do not notice.
    """
    env = {"SIGNALING_MAX_BUFFERED": str(1 << 20), "SIGNALING_TRANSPORT": "auto"}
    with server_process(env=env) as server:
        async with connected(server, 6) as peers:
            *_, last = peers
            for peer, size in zip(
                peers, (100_000, 240_000, 100_000, 240_000, 100_000), strict=False
            ):
                await half_a_message(peer, size)
            await last.send(frame(Opcode.TEXT, b" " * 20_000, fin=False))
            for peer in (peers[1], peers[3]):
                with pytest.raises(ClosedError) as closed:
                    await peer.receive_text()
                assert (closed.value.code, closed.value.reason) == (1013, "too far behind")
            for peer in (peers[0], peers[2], peers[4], last):
                await peer.send(frame(Opcode.CONTINUATION, b"[]"))
                assert await peer.receive() == INVALID_MESSAGE


@pytest.mark.parametrize("limit", ["0", str(1 << 50)])
async def test_much_may_be_buffered(limit: str) -> None:
    """0 stands for a part of the machine's memory, which is more than a few clients can use."""
    with server_process(env={"SIGNALING_MAX_BUFFERED": limit}) as server:
        async with connected(server, 5) as peers:
            for peer in peers:
                await half_a_message(peer, 1_000_000)
            for peer in peers:
                await peer.send(frame(Opcode.CONTINUATION, b"[]"))
                assert await peer.receive() == INVALID_MESSAGE


# The system's limits and libraries


def test_transport_is_logged() -> None:
    """The log says at the start which transport is used."""
    for transport in TRANSPORTS:
        with server_process(env={"SIGNALING_TRANSPORT": transport}) as server:
            server.wait_for_line(rf"INFO version {re.escape(VERSION)}, transport: {transport}$")


@needs_proc
def test_uvloop_runs() -> None:
    """The event loop is uvloop if that is installed."""
    pytest.importorskip("uvloop", reason="install it: pip install uvloop")
    with server_process(env={"SIGNALING_LOG_LEVEL": "DEBUG"}) as server:
        assert "uvloop" in (PROC / str(server.pid) / "maps").read_text()
        # asyncio's own loop announces itself with these words.
        assert not [line for line in server.lines if "Using selector" in line]


async def test_without_uvloop() -> None:
    """If uvloop is not installed, the event loop is asyncio's own."""
    code = f"""
import runpy, sys
sys.modules["uvloop"] = None
sys.path[0] = {str(MAIN.parent)!r}
runpy.run_path({str(MAIN)!r}, run_name="__main__")
"""
    debug = {"SIGNALING_LOG_LEVEL": "DEBUG"}
    with server_process(env=debug, command=[sys.executable, "-c", code]) as server:
        async with client(server):
            pass
        assert [line for line in server.lines if "Using selector" in line]


@needs_proc
def test_open_files_are_raised_to_what_is_allowed() -> None:
    """The server may have as many files open, and so clients, as the hard limit permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with lowered_file_limit(min(256, hard - 1)), server_process() as server:
        limits = (PROC / str(server.pid) / "limits").read_text()
        assert re.search(rf"^Max open files +{hard} +{hard} ", limits, re.MULTILINE)


@needs_proc
async def test_out_of_open_files() -> None:
    """A server that can accept no more neither spins nor fills its log, and serves its clients.

    Once a file is free again, it serves new clients.
    """
    with server_process() as server:
        async with client(server) as first, client(server) as second:
            await first.join("room")
            await second.join("room")
            await first.receive()
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (64, 64))
            async with AsyncExitStack() as crowd:
                for _ in range(100):
                    await crowd.enter_async_context(raw_connection(server, b""))
                await until(lambda: len(open_files(server.pid)) == 64)
                await first.send("offer", client_id=second.id, sdp=SDP)
                assert (await second.receive())["type"] == "offer"
                before = cpu_time(server.pid)
                await asyncio.sleep(1)  # The CPU time that it uses meanwhile is measured.
                assert cpu_time(server.pid) - before < 0.3
                await second.send("answer", client_id=first.id, sdp=SDP)
                assert (await first.receive())["type"] == "answer"
            await until(lambda: len(open_files(server.pid)) < 64)
            async with client(server) as newcomer:
                await newcomer.join("room")
                assert (await first.receive())["type"] == "new-client"
        assert len(server.lines) < 20


@needs_proc
async def test_the_last_open_file() -> None:
    """A client that gets it cannot be served, and is told so; the log says why."""
    with server_process() as server:
        used = open_files(server.pid)
        last = next(fd for fd in itertools.count() if fd not in used)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (last + 1, last + 1))
        async with raw_connection(server, HEALTH) as (reader, _):
            assert (await reader.read()).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        await asyncio.to_thread(server.wait_for_line, "WARNING .* files are open")


def few_files(limit: int) -> tuple[str, ...]:
    """Return the command of a server that may have no more files open than this."""
    return ("sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh", *COMMAND)


@needs_proc
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        UPGRADE,
        *(pytest.param(it, marks=pytest.mark.thorough) for it in (HALF_A_REQUEST, HEALTH)),
    ],
)
async def test_newcomers_make_room_for_others(transport: Transport, sent: bytes) -> None:
    """When nearly all files are open, those who have joined no room go, the oldest first.

    So whatever connections a crowd leaves lying about, all who mean to join can. Members stay. This
    is logged once a minute.
    """
    env = {"SIGNALING_TRANSPORT": transport}
    with server_process(command=few_files(100), env=env) as server:
        async with AsyncExitStack() as clients:
            member = await clients.enter_async_context(client(server))
            await member.join("room")
            crowd = []
            for _ in range(200):
                crowd.append(await clients.enter_async_context(raw_connection(server, sent)))
                if sent in (HEALTH, UPGRADE):
                    async with asyncio.timeout(10):
                        await crowd[-1][0].readuntil(b"\r\n\r\n")
            assert len(open_files(server.pid)) < 100
            for number in range(60):
                newcomer = await clients.enter_async_context(client(server))
                await newcomer.join("room")
                joined = await member.receive()
                assert joined == {"type": "new-client", "payload": {"client_id": newcomer.id}}
                assert not crowd[number][1].is_closing()
            for reader, _ in crowd[:150]:
                async with asyncio.timeout(10):
                    rest = await reader.read()
                told = b"\x88\x16\x03\xf5too many connections"
                assert rest.endswith(told) if sent == UPGRADE else told not in rest
            await (await member.socket.ping())
        assert sum("of 100 files are open" in line for line in server.lines) == 1


@needs_proc
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_request_makes_a_connection_young(transport: Transport) -> None:
    """An HTTP connection is as old as its last request."""
    env = {"SIGNALING_TRANSPORT": transport}
    with server_process(command=few_files(60), env=env) as server:
        async with AsyncExitStack() as clients:
            reader, writer = await clients.enter_async_context(raw_connection(server, HEALTH))
            await reader.readuntil(b"\r\n\r\nOK")
            idle, _ = await clients.enter_async_context(raw_connection(server, HEALTH))
            await idle.readuntil(b"\r\n\r\nOK")
            for _ in range(100):
                await clients.enter_async_context(raw_connection(server, b""))
                writer.write(HEALTH)
                async with asyncio.timeout(10):
                    await reader.readuntil(b"\r\n\r\nOK")
            async with asyncio.timeout(10):
                assert await idle.read() == b""


@needs_proc
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_members_leave_newcomers_half_of_the_files(transport: Transport) -> None:
    """However few files are left, a newcomer does not have to go as soon as the next one comes."""
    env = {"SIGNALING_TRANSPORT": transport}
    with server_process(command=few_files(100), env=env) as server:
        async with AsyncExitStack() as clients:
            while len(open_files(server.pid)) < 95:
                member = await clients.enter_async_context(client(server))
                await member.join("room")
            first = await clients.enter_async_context(client(server))
            await clients.enter_async_context(client(server))
            await first.join("room")
            assert (await member.receive())["payload"] == {"client_id": first.id}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_limits_of_a_request(transport: Transport) -> None:
    """A body may have 1 KiB. A client that reads no answers is dropped in time."""
    env = {"SIGNALING_TRANSPORT": transport, "SIGNALING_HANDSHAKE_TIMEOUT": "0.3"}
    with server_process("-demo", env=env) as server:
        for length, answer in ((1024, b"200 OK"), (1025, b"400 Bad Request")):
            request = b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length
            async with raw_connection(server, request + bytes(length)) as (reader, _):
                assert (await reader.readline()).split(b" ", 1)[1].strip() == answer
        async with raw_connection(server, b"") as (_, writer):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            while True:
                writer.write(HEALTH.replace(b"/health", b"/") * 1000)
                try:
                    await writer.drain()
                except ConnectionError:
                    break


# The log


@pytest.mark.parametrize("level", ["debug", "Debug", "trace"])
async def test_log_level_in_any_case(level: str) -> None:
    """`SIGNALING_LOG_LEVEL` may be written in any case, and with the names of other programs."""
    with server_process(env={"SIGNALING_LOG_LEVEL": level}) as server:
        async with client(server) as talker:
            await talker.join("room")
        await asyncio.to_thread(server.wait_for_line, f"DEBUG .*{talker.id}")


async def test_info_log() -> None:
    """At INFO a connection leaves two records, of its coming and its going, whatever it sends."""
    with server_process() as server:
        async with client(server) as talker:
            await talker.join("room")
            await talker.send("offer", client_id=talker.id, sdp=SDP)
            await talker.send("offer", client_id="nobody", sdp=SDP)
            await talker.send("nonsense")
            for kind in ("offer", "error", "error"):
                assert (await talker.receive())["type"] == kind
        await asyncio.to_thread(server.wait_for_line, f"{talker.id} left")
        transport, listening, joined, left = server.lines
        assert transport.endswith(f"INFO version {VERSION}, transport: auto")
        assert "listening" in listening
        assert f"{talker.id} at 127.0.0.1 joined" in joined
        assert f"{talker.id} left" in left


async def test_debug_log() -> None:
    """At DEBUG there is a line for each message, without its SDP."""
    with server_process(env={"SIGNALING_LOG_LEVEL": "DEBUG"}) as server:
        async with client(server) as talker:
            await talker.join("room")
            await talker.send("offer", client_id=talker.id, sdp=SDP)
            await talker.send("answer", client_id=talker.id, sdp=SDP)
            await talker.send("ice-candidate", client_id=talker.id, candidate=SECRET)
            for kind in ("offer", "answer", "ice-candidate"):
                assert (await talker.receive())["type"] == kind
        await asyncio.to_thread(server.wait_for_line, f"{talker.id} left")
        logged = [line for line in server.lines if "DEBUG" in line and talker.id in line]
        for kind in ("join", "offer", "answer", "ice-candidate"):
            assert sum(kind in line for line in logged) == 1
        assert not [line for line in server.lines if SECRET in line]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "offer", "payload": {"client_id": "nobody", "sdp": SDP}},
        {"type": "offer", "payload": {"sdp": SDP}},
        {"type": "offer", "payload": {"client_id": "nobody", "sdp": [SDP]}},
        {"type": "answer", "payload": {"client_id": SDP, "sdp": SDP}},
        {"type": "answer", "payload": SDP},
        {"type": SDP, "payload": {}},
        SDP,
    ],
    ids=["absent", "no-target", "no-text", "as-target", "as-payload", "as-type", "as-message"],
)
async def test_misplaced_sdp_is_not_logged(message: object) -> None:
    """Wherever an SDP is in a message, no log line shows it or is torn in two by it."""
    with server_process(env={"SIGNALING_LOG_LEVEL": "DEBUG"}) as server:
        async with client(server) as talker:
            await talker.join("room")
            await talker.socket.send(json.dumps(message))
            assert (await talker.receive())["type"] == "error"
        await asyncio.to_thread(server.wait_for_line, f"{talker.id} left")
        assert not [line for line in server.lines if SECRET in line]
        assert not [line for line in server.lines if not re.match(r"\d{4}-\d\d-\d\d ", line)]


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda it: it.name)
async def test_stop(number: signal.Signals) -> None:
    """On SIGTERM or SIGINT every client is closed with 1001, and the exit code is 0."""
    with server_process() as server:
        async with client(server) as first, client(server) as second, client(server) as third:
            await first.join("room")
            await second.join("room")
            server.send_signal(number)
            for each in (first, second, third):
                await each.socket.wait_closed()
                assert each.socket.close_code == 1001
            assert await asyncio.to_thread(server.wait) == 0


async def test_stop_in_time() -> None:
    """The end comes within 5 s even if clients neither answer nor read, or send half a request."""
    with server_process() as server:
        async with (
            client(server) as silent,
            client(server) as stalled,
            client(server) as talker,
            raw_connection(server, b""),
            raw_connection(server, HALF_A_REQUEST),
        ):
            silent.fall_silent()
            stalled.fall_silent()
            await stalled.send("join", room_id="room")
            await talker.join("room")
            for _ in range(30):
                await talker.send("offer", client_id=stalled.id, sdp="x" * 100_000)
            server.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 0
            await talker.socket.wait_closed()
            assert talker.socket.close_code == 1001


async def test_shutdown_timeout() -> None:
    """An answer to the close is awaited for at most `SIGNALING_SHUTDOWN_TIMEOUT` seconds."""
    for transport in TRANSPORTS:
        env = {"SIGNALING_SHUTDOWN_TIMEOUT": "0.2", "SIGNALING_TRANSPORT": transport}
        with server_process(env=env) as server:
            async with client(server) as silent:
                silent.fall_silent()
                server.send_signal(signal.SIGTERM)
                # This is well below two seconds; the default is three.
                assert await asyncio.to_thread(server.wait, 1.5) == 0


async def test_stop_while_requests_pipeline() -> None:
    """The end comes within 5 s even if HTTP clients keep asking and read no answer."""
    with server_process() as server:
        async with client(server) as talker, AsyncExitStack() as crowd:
            for _ in range(20):
                _, writer = await crowd.enter_async_context(raw_connection(server, HEALTH))
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                writer.write(HEALTH * 50_000)
            await talker.join("room")
            server.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 0
            await talker.socket.wait_closed()
            assert talker.socket.close_code == 1001


async def test_stop_accepting() -> None:
    """While the server waits for its last clients to go, it accepts no new ones."""
    with server_process() as server:
        async with client(server) as silent, client(server) as answering:
            silent.fall_silent()
            server.send_signal(signal.SIGTERM)
            await answering.socket.wait_closed()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(server.host, server.port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda it: it.name)
async def test_stop_twice(number: signal.Signals) -> None:
    """A second signal while the server is stopping changes nothing."""
    with server_process(env={"SIGNALING_SHUTDOWN_TIMEOUT": "0.5"}) as server:
        async with client(server) as silent, client(server) as answering:
            silent.fall_silent()
            server.send_signal(number)
            await answering.socket.wait_closed()
            assert answering.socket.close_code == 1001
            server.send_signal(number)
            assert await asyncio.to_thread(server.wait) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda it: it.name)
def test_stop_at_any_moment(number: signal.Signals) -> None:
    """From "listening" to the end of the process, no signal changes the exit code."""
    with server_process() as server:
        code = None
        while code is None:
            server.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                code = server.wait(timeout=0.002)
        assert code == 0


async def test_nothing_is_left_open() -> None:
    """A server that ends has closed all that it opened: Python gives no ResourceWarning."""
    env = {"PYTHONDEVMODE": "1", "SIGNALING_SHUTDOWN_TIMEOUT": "0.001"}
    with server_process(env=env) as server:
        async with (
            client(server) as silent,
            client(server) as talker,
            raw_connection(server, HALF_A_REQUEST),
        ):
            await talker.join("room")
            silent.fall_silent()
            server.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 0
        assert not [line for line in server.lines if "Warning" in line]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_that_is_read_slower_when_the_server_stops(transport: Transport) -> None:
    """The server ends as it always does. What the client waits for leaves no traceback."""
    env = {"SIGNALING_TRANSPORT": transport, "SIGNALING_SHUTDOWN_TIMEOUT": "0.001"}
    with server_process(env=env) as server:
        members = [await Peer.connect(server.url) for _ in range(12)]
        for member in members:
            await member.join("room")
        # Each causes eleven notices, all together more than a client may cause at once.
        members[0].write(text_frame(message("join", room_id="room")) * 300)
        for _ in range(190):
            while new_client(members[0]) != await members[1].receive():
                pass
        server.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 0
        for member in members:
            member.abort()
