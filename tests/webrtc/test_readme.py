"""The Python client in the README does what the README says."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.support.server_process import ServerProcess
from tests.test_readme import blocks

Client = asyncio.subprocess.Process
Start = Callable[[], Awaitable[Client]]

GREETING = b"Hello from Python\n"


def write_client(path: Path, url: str) -> None:
    """Write the client, changed for the server at a URL and without a public STUN server."""
    (client,) = blocks("python")
    for old, new in (
        ("ws://localhost:5000/connect", url),
        ("import RTCPeerConnection", "import RTCConfiguration, RTCPeerConnection"),
        ("RTCPeerConnection()", "RTCPeerConnection(RTCConfiguration(iceServers=[]))"),
    ):
        assert client.count(old) == 1
        client = client.replace(old, new)
    path.write_text(client, encoding="utf-8")


@asynccontextmanager
async def starting(script: Path) -> AsyncIterator[Start]:
    """Yield a function that starts a client; clients that still run are killed in the end."""
    clients: list[Client] = []

    async def start() -> Client:
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            "-uc",
            # A shell that runs the tests in the background has SIGINT ignored, by its children too.
            "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
            f"runpy.run_path({str(script)!r}, run_name='__main__')",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        clients.append(client)
        return client

    try:
        yield start
    finally:
        for client in clients:
            if client.returncode is None:
                client.kill()
            await client.communicate()


async def read_line(client: Client) -> bytes:
    assert client.stdout
    return await client.stdout.readline()


def udp_sockets(client: Client) -> int:
    """Count the sockets of a client's connections to other members."""
    return len(psutil.Process(client.pid).net_connections("udp"))


async def test_clients_greet_each_other(server: ServerProcess, tmp_path: Path) -> None:
    """Each client prints what the other says, and one that is left closes its connection.

    Ctrl-C ends a client without a traceback.
    """
    script = tmp_path / "client.py"
    write_client(script, server.url)
    async with asyncio.timeout(30), starting(script) as start:
        first = await start()
        await asyncio.to_thread(server.wait_for_line, "joined room 'demo'")
        second = await start()
        assert await read_line(first) == await read_line(second) == GREETING
        assert udp_sockets(first) > 0

        # It is killed and tells the other nothing; only the server does.
        second.kill()
        while udp_sockets(first):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

        first.send_signal(signal.SIGINT)
        output, errors = await first.communicate()
        assert (output, errors, first.returncode) == (b"", b"", 0)
