"""The file that `make build` makes, run without Python, variables or other files."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
import pytest

from demo.routes import PAGE, SDK
from tests.support.client import Response, http
from tests.support.peer import Peer, new_client, offer
from tests.support.proc import catches
from tests.support.server_process import MAIN, ServerProcess, server_process

BINARY = MAIN.parent / "dist" / "signaling-server"
FILES = [
    *((f"/{path.name}", path) for path in PAGE.iterdir()),
    *((f"/sdk/{path.name}", path) for path in SDK.iterdir()),
    ("/", PAGE / "index.html"),
]

pytestmark = pytest.mark.skipif(
    not BINARY.exists(), reason="needs the file that `make build` makes"
)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="run it on Linux")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory with two empty ones: `work` to run in, and `tmp` to unpack into."""
    for name in ("work", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def command(place: Path) -> list[str]:
    return ["/usr/bin/env", "-i", f"TMPDIR={place / 'tmp'}", str(BINARY)]


@contextmanager
def binary(place: Path, *flags: str, exit_code: int = 0) -> Iterator[ServerProcess]:
    """Run the server as `server_process` does."""
    with server_process(
        *flags, cwd=place / "work", command=command(place), exit_code=exit_code
    ) as server:
        child = child_of(psutil.Process(server.pid))
        try:
            yield server
        except BaseException:
            kill(child)
            raise


def run(place: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command(place), *args], cwd=place / "work", capture_output=True, text=True, timeout=10
    )


def unpacked(place: Path) -> list[Path]:
    """Return the directories into which the binary has unpacked files."""
    return list((place / "tmp").iterdir())


def child_of(process: psutil.Process) -> psutil.Process:
    """Return the process that is the server, for which the one that was started waits."""
    while not (children := process.children()):
        assert process.is_running()
    (child,) = children
    return child


async def get(server: ServerProcess, path: str) -> Response:
    request = f"GET {path} HTTP/1.1\r\nHost: {urlsplit(server.url).netloc}\r\n\r\n"
    return await http(server.url, request.encode())


@asynccontextmanager
async def clients(server: ServerProcess, count: int) -> AsyncIterator[list[Peer]]:
    peers = [await Peer.connect(server.url) for _ in range(count)]
    yield peers
    for peer in peers:
        peer.abort()
    await asyncio.sleep(0)  # The transports close their sockets in the next iteration of the loop.


def kill(process: psutil.Process) -> None:
    """Kill a process and its children; do nothing if it has ended."""
    with suppress(psutil.NoSuchProcess):
        for each in [*process.children(), process]:
            each.kill()


@contextmanager
def started(place: Path) -> Iterator[psutil.Process]:
    """Start the binary, and do not wait until it listens."""
    with psutil.Popen(
        [str(BINARY), "-addr", "127.0.0.1", "-port", "0"],
        env={"TMPDIR": str(place / "tmp")},
        cwd=place / "work",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            kill(process)


async def test_relay(place: Path) -> None:
    """Clients find each other in a room, and one's offer reaches the other."""
    with binary(place) as server:
        assert (await get(server, "/health")).body == b"OK"
        async with clients(server, 2) as (first, second):
            await first.join("room")
            await second.join("room")
            assert await first.receive() == new_client(second)
            await first.say("offer", client_id=second.id, sdp="v=0")
            assert await second.receive() == offer(first, "v=0")


async def test_demo(place: Path) -> None:
    """`-demo` serves each file of the page and of the SDK, byte for byte."""
    with binary(place, "-demo") as server:
        for path, file in FILES:
            assert (await get(server, path)).body == file.read_bytes(), path
        assert (await get(server, "/ice-servers")).status == 200


def test_nothing_else_is_in_it(place: Path) -> None:
    """Of the demo and the SDK, the binary has the files that are served, and no others."""
    with binary(place):
        (directory,) = unpacked(place)
        held = {
            path.relative_to(directory)
            for name in ("demo", "sdk")
            for path in (directory / name).rglob("*")
            if path.is_file()
        }
    assert held == {file.relative_to(MAIN.parent) for _, file in FILES}


@on_linux
def test_uvloop(place: Path) -> None:
    """It runs on uvloop, as the server does from its source."""
    with binary(place) as server:
        maps = child_of(psutil.Process(server.pid)).memory_maps()
        assert any("/uvloop/" in mapped.path for mapped in maps)


def test_env_file(place: Path) -> None:
    """A `.env` in the working directory is read."""
    (place / "work" / ".env").write_text("PORT=70000\n")
    ended = run(place)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("PORT=")


def test_help(place: Path) -> None:
    """`-h` prints the flags and exits with 0."""
    ended = run(place, "-h")
    assert ended.returncode == 0
    assert ended.stderr.startswith("Usage of ")
    assert not unpacked(place)


@pytest.mark.parametrize(
    ("flags", "told", "code"), [("-prot 5000", "-prot", 2), ("-addr 192.0.2.1", "192.0.2.1", 1)]
)
def test_bad_flag(place: Path, flags: str, told: str, code: int) -> None:
    """A bad flag, and an address of another machine, are named, with an exit code for each."""
    ended = run(place, *flags.split())
    assert (ended.returncode, ended.stdout) == (code, "")
    assert told in ended.stderr.splitlines()[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda it: it.name)
@pytest.mark.parametrize("to_both", [False, True], ids=["to-one", "to-both"])
async def test_stop(place: Path, number: signal.Signals, to_both: bool) -> None:
    """A signal closes every client with 1001, the exit code is 0, and the unpacked files are gone.

    It is enough to send the signal to the process that was started. A terminal sends it to both.
    """
    with binary(place) as server:
        async with clients(server, 3) as peers:
            if to_both:
                child_of(psutil.Process(server.pid)).send_signal(number)
            server.send_signal(number)
            assert [await peer.closed() for peer in peers] == [1001] * 3
        assert server.wait() == 0
    assert not unpacked(place)


@on_linux
def test_stop_from_the_first_moment(place: Path) -> None:
    """A signal ends the server with 0 as soon as Python runs its first lines."""
    with started(place) as process:
        child = child_of(process)
        while not catches(child.pid, signal.SIGTERM):
            assert process.is_running()
        assert "tornado" not in Path(f"/proc/{child.pid}/maps").read_text()
        process.terminate()
        assert process.wait(5) == 0
    assert not unpacked(place)


@on_linux
async def test_kill(place: Path) -> None:
    """When the process that was started is killed, the server stops too: clients get 1001."""
    with binary(place, exit_code=-signal.SIGKILL) as server:
        child = child_of(psutil.Process(server.pid))
        async with clients(server, 1) as (peer,):
            server.kill()
            assert await peer.closed() == 1001
        child.wait(5)


def test_the_unpacked_files_are_locked(place: Path) -> None:
    """The directory is locked against systemd-tmpfiles, which leaves locked directories alone."""
    with binary(place):
        (directory,) = unpacked(place)
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
