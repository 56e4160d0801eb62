"""Where each worker tells the others how it is, in memory that they share."""

from mmap import mmap
from time import monotonic
from zlib import crc32

SILENCE = 5.0
"""Seconds after which a worker that tells nothing does not count as ready: it may hang."""

NAMES = 256
"""Cells of `Times`."""


class Board:
    """The memory, which is made before the workers are. Nobody waits for anybody to read it."""

    def __init__(self, workers: int) -> None:
        self._ready_until = memoryview(mmap(-1, workers * 8)).cast("d")

    def put(self, worker: int, ready: bool) -> None:
        """Say that a worker is up, and whether it is ready."""
        self._ready_until[worker] = monotonic() + (SILENCE if ready else 0.0)

    def gone(self, worker: int) -> None:
        """Say that a worker is not up any more."""
        self._ready_until[worker] = 0.0

    def is_up(self, worker: int) -> bool:
        return self._ready_until[worker] > 0.0

    def is_ready(self, worker: int) -> bool:
        return self._ready_until[worker] > monotonic()

    def all_ready(self) -> bool:
        return min(self._ready_until) > monotonic()


class Times:
    """Times by name, which all workers see. What was never set is long ago.

    A name stands for a cell, which it may share with another. So they must be few.
    """

    def __init__(self) -> None:
        self._times = memoryview(mmap(-1, NAMES * 8)).cast("d")

    def get(self, name: str, default: float) -> float:
        return self._times[crc32(name.encode()) % NAMES] or default

    def __setitem__(self, name: str, time: float) -> None:
        self._times[crc32(name.encode()) % NAMES] = time
