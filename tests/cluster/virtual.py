"""Event loops whose time is a number: nothing sleeps, and all happens the same again."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from itertools import count
from math import inf
from typing import Any, TypeVar

T = TypeVar("T")


class Clock:
    """The time that all loops share, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000_000.0


class VirtualLoop(asyncio.AbstractEventLoop):
    """The event loop of one process, which somebody else turns (see `turn`).

    It has what tasks, futures and timeouts need; nothing of it opens a file or a socket.
    """

    def __init__(self, clock: Clock, cost: Callable[[], float] = lambda: 0.0) -> None:
        """Prepare. Each iteration takes as many seconds as `cost` returns."""
        self._clock = clock
        self._cost = cost
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = count()
        self._busy_until = 0.0
        self._tasks: list[asyncio.Task[Any]] = []
        self.paused = False
        self.failures: list[str] = []
        """What callbacks and tasks have raised."""

    # What the world calls

    def due(self) -> float:
        """Return when `turn` has something to do; infinity if never, as things are."""
        if self.paused:
            return inf
        if self._ready:
            return self._busy_until
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return max(self._busy_until, self._timers[0][0]) if self._timers else inf

    def turn(self) -> None:
        """Carry out one iteration: all that is due, but nothing that comes of it."""
        while self._timers and self._timers[0][0] <= self._clock.now:
            self._ready.append(heapq.heappop(self._timers)[2])
        asyncio._set_running_loop(self)
        try:
            for _ in range(len(self._ready)):
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)
        self._busy_until = self._clock.now + self._cost()

    def end(self) -> None:
        """Cancel all tasks and let them end, however long that takes."""
        self.paused = False
        while running := [task for task in self._tasks if not task.done()]:
            for task in running:
                task.cancel()
            self._clock.now = max(self._clock.now, self.due())
            self.turn()

    # What asyncio calls

    def time(self) -> float:
        return self._clock.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._clock.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._count), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass  # `due` and `turn` see it.

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Any = None
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")
