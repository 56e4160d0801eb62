"""Whatever waits is tested on both event loops: asyncio's own, and uvloop where there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from tests.conftest import _cancel_tasks

LOOPS = {"asyncio": asyncio.new_event_loop}
try:
    import uvloop
except ImportError:  # There is none for Windows.
    pass
else:
    LOOPS["uvloop"] = uvloop.new_event_loop


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if asyncio.iscoroutinefunction(metafunc.function):
        metafunc.parametrize("io_loop", LOOPS, indirect=True)


@pytest.fixture(autouse=True)
def io_loop(request: pytest.FixtureRequest) -> Iterator[IOLoop]:
    """Gives each test an event loop of its own."""
    new_event_loop = LOOPS[getattr(request, "param", "asyncio")]
    loop = IOLoop(make_current=False, asyncio_loop=new_event_loop())
    yield loop
    loop.run_sync(_cancel_tasks)
    loop.close(all_fds=True)
