"""The records that reach the log's thread. test_process.py tests what it does with them."""

import logging
import os
import re

import pytest

import log
from log import FOR_WARNINGS, QUEUED, RATE, SELDOM, Records, Seldom, _Handler


def record(name: str, level: int) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, "text", (), None)


@pytest.fixture
def handler() -> _Handler:
    return _Handler(Records())


def queued(handler: _Handler) -> int:
    return int(handler.queue.qsize())  # type: ignore[attr-defined]  # It is a queue.Queue.


def test_joins_do_not_crowd_out_warnings(
    handler: _Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of the limit is kept for warnings; the next second is as good as the first."""
    now = 100.0
    monkeypatch.setattr("log.monotonic", lambda: now)
    for _ in range(2 * RATE):
        handler.handle(record("manager.room", logging.INFO))
    assert queued(handler) == RATE - FOR_WARNINGS
    for _ in range(2 * RATE):
        handler.handle(record("handler.handler", logging.ERROR))
    assert queued(handler) == RATE
    assert handler.left_out == 3 * RATE
    now += 1
    handler.handle(record("manager.room", logging.INFO))
    assert queued(handler) == RATE + 1


def test_what_no_client_causes_has_no_rate(handler: _Handler) -> None:
    for _ in range(2 * RATE):
        handler.handle(record("server", logging.INFO))
    assert queued(handler) == 2 * RATE


def test_what_finds_the_queue_full_is_left_out(handler: _Handler) -> None:
    for _ in range(QUEUED + 3):
        handler.handle(record("server", logging.INFO))
    assert queued(handler) == QUEUED
    assert handler.left_out == 3


def test_processes_count_together(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """However they divide the records among themselves, and whichever of them ends."""
    monkeypatch.setattr("log.monotonic", lambda: 100.5)
    records = Records(3)
    assert all(records.take(10) for _ in range(3))
    if (pid := os.fork()) == 0:
        records.mine = 2
        taken = [records.take(10) for _ in range(8)]
        records.leave_out(1)
        os._exit(0 if taken == [True] * 7 + [False] else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert not records.take(10)
    records.leave_out(4)
    for _ in range(2):
        records.report()
    assert re.fullmatch(r".* WARNING 5 log records were left out\n", capfd.readouterr().err)


def test_the_same_text_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a minute, by all who share the times."""
    now = 1000.0
    monkeypatch.setattr(log, "monotonic", lambda: now)
    times: dict[str, float] = {}
    one, other = Seldom(times), Seldom(times)
    assert [one("a"), one("a"), other("a"), other("b"), one("b")] == [1, 0, 0, 1, 0]
    now += SELDOM - 1
    assert not one("a")
    now += 1
    assert [other("a"), one("a")] == [1, 0]
