"""Counts and times by name that all workers see, in memory that they share.

It is a count-min sketch: a name stands for a cell in each of four rows, and what is least there
counts. So memory is bounded whatever the names are, and another name is taken for this one only if
it is so in all four rows. Which cells those are cannot be told without the key.
"""

import os
from collections.abc import Iterable
from hashlib import blake2b
from mmap import mmap

ROWS = 4
WIDTH = 1 << 16
CELLS = ROWS * WIDTH


class Tallies:
    """The memory, which is made before the workers are, as each of them sees it.

    Each worker counts in cells of its own, and what counts is the sum: no two write to the same
    place. Times are written by all. If two write the time of one name at once, one may be lost.
    """

    def __init__(self, workers: int) -> None:
        self._key = os.urandom(16)
        self._counts = memoryview(mmap(-1, workers * CELLS * 4)).cast("i")
        self._times = memoryview(mmap(-1, CELLS * 8)).cast("d")
        self._planes = range(0, workers * CELLS, CELLS)
        self._mine = 0

    def begin(self, worker: int) -> None:
        """Count for this worker from now on, beginning with nothing: its predecessor is gone."""
        self._mine = worker * CELLS
        self._counts[self._mine : self._mine + CELLS] = memoryview(bytes(CELLS * 4)).cast("i")

    def add(self, name: str, amount: int) -> None:
        """Add to a count, which may be negative in one worker but not in all together."""
        for cell in self._cells(name):
            self._counts[self._mine + cell] += amount

    def count(self, name: str) -> int:
        """Return the count, or rarely more."""
        counts = self._counts
        return min(
            sum(counts[plane + cell] for plane in self._planes) for cell in self._cells(name)
        )

    def put(self, name: str, time: float) -> None:
        """Take note of a time that is later than the one before."""
        for cell in self._cells(name):
            self._times[cell] = max(self._times[cell], time)

    def time(self, name: str) -> float:
        """Return the time, or rarely a later one; 0.0 for none."""
        return min(self._times[cell] for cell in self._cells(name))

    def _cells(self, name: str) -> Iterable[int]:
        digest = memoryview(blake2b(name.encode(), key=self._key, digest_size=2 * ROWS).digest())
        return [row * WIDTH + cell for row, cell in enumerate(digest.cast("H"))]
