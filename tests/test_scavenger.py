"""Memory is given back when a crowd has gone, whichever C library there is."""

import asyncio
import gc
import platform
import re
import weakref
from collections.abc import Callable
from mmap import PAGESIZE
from pathlib import Path
from typing import Literal

import pytest

import process
import server
from config.config import Config
from tests.support.client import TIME_LIMIT
from tests.support.peer import Peer

PAGES = Path("/proc/self/statm")


# When memory is given back


class Timers:
    """Takes the place of an event loop: runs timers that are due when told that time has passed."""

    def __init__(self) -> None:
        self.handles: list[asyncio.TimerHandle] = []

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object
    ) -> asyncio.TimerHandle:
        loop = asyncio.new_event_loop()
        loop.close()
        self.handles.append(asyncio.TimerHandle(delay, callback, args, loop))
        return self.handles[-1]

    def pass_time(self) -> None:
        handles, self.handles = self.handles, []
        for handle in handles:
            if not handle.cancelled():
                handle._run()


class Crowd:
    """Clients, of whom sixteen are a crowd. `scavenged` counts how often memory was given back."""

    def __init__(self) -> None:
        self.scavenged = 0
        self.timers = Timers()
        self.scavenger = process.Scavenger(self.timers.call_later)
        self.clients = 0

    def release(self) -> None:
        self.scavenged += 1

    def come(self, number: int) -> None:
        for _ in range(number):
            self.clients += 1
            self.scavenger.count(self.clients)

    def leave(self, number: int) -> None:
        for _ in range(number):
            self.clients -= 1
            self.scavenger.count(self.clients)


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Crowd:
    crowd = Crowd()
    monkeypatch.setattr(process, "CROWD", 16)
    monkeypatch.setattr(process, "release_memory", crowd.release)
    return crowd


def test_a_crowd_has_gone_when_an_eighth_is_left(crowd: Crowd) -> None:
    """Memory is given back once, and not immediately."""
    crowd.come(16)
    crowd.leave(13)
    crowd.timers.pass_time()
    assert crowd.scavenged == 0
    crowd.leave(1)
    assert crowd.scavenged == 0
    crowd.timers.pass_time()
    assert crowd.scavenged == 1
    crowd.leave(2)
    crowd.timers.pass_time()
    assert crowd.scavenged == 1


def test_the_next_crowd_counts_from_what_was_left_of_the_last(crowd: Crowd) -> None:
    for times in (1, 2, 3):
        crowd.come(20)
        crowd.leave(20)
        crowd.timers.pass_time()
        assert crowd.scavenged == times
    crowd.come(15)
    crowd.leave(15)
    crowd.timers.pass_time()
    assert crowd.scavenged == 3


def test_a_few_are_no_crowd(crowd: Crowd) -> None:
    """This holds however many they are over time."""
    for _ in range(10):
        crowd.come(15)
        crowd.leave(15)
        crowd.timers.pass_time()
    assert crowd.scavenged == 0


def test_a_crowd_that_comes_back_has_not_gone(crowd: Crowd) -> None:
    crowd.come(32)
    crowd.leave(30)
    crowd.come(30)
    crowd.timers.pass_time()
    assert crowd.scavenged == 0
    crowd.leave(30)
    crowd.timers.pass_time()
    assert crowd.scavenged == 1


def test_nothing_is_given_back_when_the_server_stops(crowd: Crowd) -> None:
    """This holds for clients that it closes, and for those that have just gone."""
    crowd.come(20)
    crowd.leave(19)
    crowd.scavenger.stop()
    crowd.leave(1)
    crowd.timers.pass_time()
    assert crowd.scavenged == 0


@pytest.mark.parametrize("transport", ["auto", "tornado"])
async def test_the_server_gives_back_what_a_crowd_had(
    transport: Literal["auto", "tornado"],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop, released = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(process, "CROWD", 16)
    monkeypatch.setattr(process, "SCAVENGE_DELAY", 0.0)
    monkeypatch.setattr(process, "stop_event", lambda: stop)
    monkeypatch.setattr(process, "release_memory", released.set)
    caplog.set_level("INFO")
    config = Config(addr="127.0.0.1", port=0, transport=transport)
    serving = asyncio.create_task(server.serve(config))
    while not (listening := re.search(r"listening on (\S+)", caplog.text)):  # noqa: ASYNC110
        await asyncio.sleep(0)
    peers = [await Peer.connect(f"ws://{listening[1]}/connect") for _ in range(16)]
    assert not released.is_set()
    for peer in peers:
        peer.abort()
    async with asyncio.timeout(TIME_LIMIT):
        await released.wait()
        stop.set()
        await serving


# What is given back


class Knot:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize("trims", [True, False])
def test_garbage_is_collected(trims: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not trims:
        monkeypatch.setattr("ctypes.CDLL", lambda name: object())  # musl has no malloc_trim either.
    gc.disable()
    try:
        knot = weakref.ref(Knot())
        assert knot()
        process.release_memory()
        assert not knot()
    finally:
        gc.enable()


def resident() -> int:
    """Return how many MiB of memory this process has."""
    return int(PAGES.read_text().split()[1]) * PAGESIZE >> 20


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back on request"
)
@pytest.mark.skipif(not PAGES.exists(), reason="needs /proc")
def test_what_was_freed_goes_back_to_the_system() -> None:
    """This holds even if memory behind it is in use."""
    before = resident()
    much: list[bytes | None] = [bytes(1000) for _ in range(64 * 1024)]
    last = much[-1]
    assert resident() > before + 50
    much.clear()
    process.release_memory()
    assert last
    assert resident() < before + 20


def test_what_is_there_to_stay_is_in_no_collection() -> None:
    """A full collection stops everybody for as long as it looks at all modules."""
    stays = [object()]
    assert any(each is stays for each in gc.get_objects())
    try:
        process.keep_what_is_there()
        assert not any(each is stays for each in gc.get_objects())
    finally:
        gc.unfreeze()
