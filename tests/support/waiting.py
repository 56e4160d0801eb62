"""Waits for conditions that nothing announces."""

import asyncio
from collections.abc import Callable

from tests.support.client import TIME_LIMIT


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; raise TimeoutError if it does not in time."""
    async with asyncio.timeout(TIME_LIMIT):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
