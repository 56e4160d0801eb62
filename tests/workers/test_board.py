"""What each worker tells the others."""

import asyncio
import os
import socket
from functools import partial

import pytest

from workers.board import SILENCE, Board, Times
from workers.workers import Shared, Workers


def test_all_have_to_be_ready() -> None:
    board = Board(2)
    assert not board.all_ready()
    board.put(0, True)
    if (pid := os.fork()) == 0:
        board.put(1, True)
        os._exit(0 if board.all_ready() else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert board.all_ready()
    board.put(1, False)
    assert board.is_up(1)
    assert not board.all_ready()
    board.put(1, True)
    board.gone(1)
    assert not board.is_up(1)
    assert not board.all_ready()


def test_a_worker_that_hangs_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(2)
    now = 1000.0
    monkeypatch.setattr("workers.board.monotonic", lambda: now)
    board.put(0, True)
    now += SILENCE - 0.1
    board.put(1, True)
    assert board.all_ready()
    now += 0.1
    assert not board.all_ready()


async def test_workers_hear_of_each_other() -> None:
    """Whoever is asked looks at itself at once, and at what the others have said."""
    ready = [True, True]
    shared = Shared(2)
    with socket.socket(socket.AF_UNIX) as alive:
        workers = [Workers(shared, number, alive, False) for number in range(2)]
        for each in workers:
            is_ready = partial(ready.__getitem__, each.number)
            each.start(lambda *_: None, asyncio.Event(), is_ready, None)
        assert [each.ready() for each in workers] == [True, True]
        ready[0] = False
        assert [each.ready() for each in workers] == [False, False]
        ready[0] = True
        async with asyncio.timeout(10):
            while not workers[1].ready():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        loop = asyncio.get_running_loop()
        for end in (alive, *(here for here, _ in shared.inboxes)):
            loop.remove_reader(end)
        for end in (end for pair in shared.inboxes for end in pair):
            end.close()


def test_times() -> None:
    times = Times()
    assert times.get("a", 1.5) == 1.5
    times["a"] = 2.5
    assert (times.get("a", 0.0), times.get("b", 0.0)) == (2.5, 0.0)
    if (pid := os.fork()) == 0:
        times["b"] = 3.5
        os._exit(0)
    os.waitpid(pid, 0)
    assert (times.get("a", 0.0), times.get("b", 0.0)) == (2.5, 3.5)
