"""Options, markers and fixtures of all tests."""

import asyncio
from collections.abc import Iterator
from itertools import filterfalse

import pytest
from hypothesis import HealthCheck, settings
from tornado.ioloop import IOLoop

MARKERS = {
    "alone": "with the reason why it holds for one process: skipped with --cluster and --workers",
    "churn": "takes half a minute and servers that share their rooms: runs only with --cluster",
    "attacks": "an attack of some seconds: runs only with --attacks",
    "differ": "the contract differs from the Go original here: skipped with --reference",
    "frames": "broken frames: under SIGNALING_TRANSPORT=tornado answered in Tornado's own way",
    "slow": "takes a minute: runs only with --slow",
    "thorough": "tests in another way or for long what others test too: left out with --brief",
    "timeout": "with seconds=N: pytest-tornasync's time limit for this test",
}

# A busy machine is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption(
        "--server",
        metavar="URL",
        help="test the server at this URL (ws://HOST:PORT/connect) instead of starting main.py",
    )
    group.addoption(
        "--reference",
        action="store_true",
        help="skip tests in which the contract differs from the Go original; needs --server",
    )
    group.addoption(
        "--cluster",
        action="store_true",
        help="test servers that share their rooms, each client on another one: two that are started"
        " for it, or those behind --server",
    )
    group.addoption(
        "--workers",
        action="store_true",
        help="test a server that is started for it and has two workers",
    )
    group.addoption(
        "--tls", action="store_true", help="test a server that is started for it and speaks TLS"
    )
    group.addoption("--attacks", action="store_true", help="also run the attacks that take longer")
    group.addoption("--slow", action="store_true", help="also run the tests that take a minute")
    group.addoption(
        "--brief",
        action="store_true",
        help="leave out what tests again or for long what others test, and on Tornado's own"
        " protocol everything but the tests of the handler",
    )


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    if config.getoption("--reference") and not config.getoption("--server"):
        raise pytest.UsageError("--reference needs --server: main.py is not the original")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    differ = pytest.mark.skip(reason="--reference: the contract differs from the original here")
    frames = pytest.mark.xfail(
        strict=True, raises=AssertionError, reason="Tornado's own WebSocket protocol"
    )
    attacks = pytest.mark.skip(reason="takes some seconds, needs --attacks")
    slow = pytest.mark.skip(reason="takes a minute, needs --slow")
    if config.getoption("--brief"):
        config.hook.pytest_deselected(items=list(filter(_is_thorough, items)))
        items[:] = filterfalse(_is_thorough, items)
    for item in items:
        alone = item.get_closest_marker("alone")
        several = config.getoption("--cluster") or config.getoption("--workers")
        if several and alone:
            item.add_marker(pytest.mark.skip(reason=f"several processes: {alone.args[0]}"))
        if config.getoption("--reference") and item.get_closest_marker("differ"):
            item.add_marker(differ)
        if item.get_closest_marker("churn") and not config.getoption("--cluster"):
            item.add_marker(pytest.mark.skip(reason="takes half a minute, needs --cluster"))
        if item.get_closest_marker("frames") and _transport(item) == "tornado":
            item.add_marker(frames)
        if not config.getoption("--attacks") and item.get_closest_marker("attacks"):
            item.add_marker(attacks)
        if not config.getoption("--slow") and item.get_closest_marker("slow"):
            item.add_marker(slow)


def _is_thorough(item: pytest.Item) -> bool:
    if item.get_closest_marker("thorough"):
        return True
    params = item.callspec.id.split("-") if hasattr(item, "callspec") else ()
    return "tornado" in params and not item.nodeid.startswith("tests/handler")


def _transport(item: pytest.Item) -> object:
    """Return the transport for which the fixture `url` is parametrized; None if it is not."""
    return item.callspec.params.get("url") if hasattr(item, "callspec") else None


@pytest.fixture(autouse=True)
def io_loop(request: pytest.FixtureRequest) -> Iterator[IOLoop]:
    """Give each test an event loop of its own: asyncio's, or one that the parameter makes.

    This replaces pytest-tornasync's fixture, which uses functions that Tornado has deprecated and
    leaves behind the tasks that a failed test has not awaited.
    """
    new_event_loop = getattr(request, "param", asyncio.new_event_loop)
    loop = IOLoop(make_current=False, asyncio_loop=new_event_loop())
    yield loop
    loop.run_sync(_cancel_tasks)
    loop.close(all_fds=True)


async def _cancel_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
