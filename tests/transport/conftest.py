"""Tests that wait run on both event loops: asyncio's own, and uvloop if there is one."""

from __future__ import annotations

import asyncio

import pytest

LOOPS = {"asyncio": asyncio.new_event_loop}
try:
    import uvloop
except ImportError:  # uvloop is not installed.
    pass
else:
    LOOPS["uvloop"] = uvloop.new_event_loop


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if asyncio.iscoroutinefunction(metafunc.function):
        metafunc.parametrize("io_loop", LOOPS.values(), ids=LOOPS, indirect=True)
