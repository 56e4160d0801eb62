"""`make cluster`: two servers that share their rooms, with the demo page, on one machine."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.client import http
from tests.support.peer import Peer, new_client


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.support.cluster_demo", "0"]
    # Ctrl-C interrupts a whole group of processes.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as demo:
        yield demo
        demo.terminate()


async def test_clients_of_two_servers_meet_until_ctrl_c(demo: subprocess.Popen[str]) -> None:
    """It prints the URL of the page and nothing else, and leaves no process behind."""
    assert demo.stdout is not None and demo.stderr is not None
    url = (await asyncio.to_thread(demo.stdout.readline)).strip()
    assert re.fullmatch(r"http://localhost:\d+/", url)
    processes = psutil.Process(demo.pid).children(recursive=True)
    assert len(processes) == 3
    server = f"ws://127.0.0.1:{urlsplit(url).port}/connect"

    page = await http(server, f"GET / HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode())
    assert page.status == 200
    assert b"<title>" in page.body

    # The balancer sends one connection to this server and the next to that one.
    first, second = [await Peer.connect(server) for _ in range(2)]
    await first.join("room")
    await second.join("room")
    assert await first.receive() == new_client(second)

    for peer in (first, second):
        peer.abort()

    os.killpg(demo.pid, signal.SIGINT)
    assert await asyncio.to_thread(demo.wait, 10) == 0
    assert demo.stdout.read() + demo.stderr.read() == ""
    assert not psutil.wait_procs(processes, timeout=1)[1]
