"""When a crowd has gone."""

from __future__ import annotations

import asyncio
import re
from typing import Literal

import pytest

import handler.connections
import server
from config.config import Config
from handler.connections import Connections
from tests.conformance.client import TIME_LIMIT
from tests.conformance.peer import Peer


class FakeConnection:
    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        connections.add(self)

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        self.connections.remove(self)

    abort = close


class Crowd:
    """Connections of which sixteen are a crowd, and that look again at once."""

    def __init__(self) -> None:
        self.calls = 0
        self.connections = Connections(self.gone)
        self.open: list[FakeConnection] = []

    def gone(self) -> None:
        self.calls += 1

    def come(self, number: int) -> None:
        self.open += [FakeConnection(self.connections) for _ in range(number)]

    def leave(self, number: int) -> None:
        for _ in range(number):
            self.open.pop().close()


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Crowd:
    monkeypatch.setattr(handler.connections, "CROWD", 16)
    monkeypatch.setattr(handler.connections, "DELAY", 0.0)
    return Crowd()


async def timers_have_run() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_crowd_has_gone_when_an_eighth_is_left(crowd: Crowd) -> None:
    """It is told once, and not at once."""
    crowd.come(16)
    crowd.leave(13)
    await timers_have_run()
    assert crowd.calls == 0
    crowd.leave(1)
    assert crowd.calls == 0
    await timers_have_run()
    assert crowd.calls == 1
    crowd.leave(2)
    await timers_have_run()
    assert crowd.calls == 1


async def test_the_next_crowd_counts_from_what_was_left_of_the_last(crowd: Crowd) -> None:
    for calls in (1, 2, 3):
        crowd.come(20)
        crowd.leave(20)
        await timers_have_run()
        assert crowd.calls == calls
    crowd.come(15)
    crowd.leave(15)
    await timers_have_run()
    assert crowd.calls == 3


async def test_a_few_are_no_crowd(crowd: Crowd) -> None:
    """However many they are over time."""
    for _ in range(10):
        crowd.come(15)
        crowd.leave(15)
        await timers_have_run()
    assert crowd.calls == 0


async def test_a_crowd_that_comes_back_has_not_gone(crowd: Crowd) -> None:
    crowd.come(32)
    crowd.leave(30)
    crowd.come(30)
    await timers_have_run()
    assert crowd.calls == 0
    crowd.leave(30)
    await timers_have_run()
    assert crowd.calls == 1


async def test_a_crowd_that_is_closed_is_not_told_of(crowd: Crowd) -> None:
    """Neither one that is closed when the server stops, nor one that has just gone."""
    crowd.come(20)
    await crowd.connections.close_all(1001, "stopping")
    other = Crowd()
    other.come(20)
    other.leave(20)
    await other.connections.close_all(1001, "stopping")
    await timers_have_run()
    assert crowd.calls == other.calls == 0


@pytest.mark.parametrize("transport", ["auto", "tornado"])
async def test_the_server_releases_what_a_crowd_had(
    transport: Literal["auto", "tornado"],
    crowd: Crowd,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop, released = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(server, "_stop_on_signal", lambda: stop)
    monkeypatch.setattr(server, "release", released.set)
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
