"""The log on stderr. However slowly it is read, it never holds the server up.

`logger.info` and the others put a line into a bounded queue, and a thread writes it. Records are
left out when the queue is full, or when clients cause more than a hundred in a second. A record of
its own then says how many were left out. If the server has several processes, both are counted for
all of them together.
"""

import logging
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler
from mmap import mmap
from queue import Empty, Full, Queue
from threading import Event, Thread
from time import monotonic
from typing import Protocol

from process import block_stop_signals

STDERR = 2

FORMAT = "%(asctime)s %(levelname)s %(message)s"

QUEUED = 1000
"""Lines that may wait to be written."""

RATE = 100
"""Records that all clients together can cause in a second."""

FOR_WARNINGS = 10
"""Records of those that are kept for warnings and errors, so that joins cannot hide one."""

OPERATORS = ("__main__", "server")
"""Loggers whose records no client causes."""

SELDOM = 60.0
"""Seconds between two records that say the same, for what `Seldom` is asked about."""

FLUSH = 0.5
"""Seconds at the end for writing the lines that still wait."""


class Records:
    """Counts the records of several processes, in memory that they share.

    It is made before they are. Each process counts in places of its own, so nobody has to wait. Of
    records that come at the very same moment, some may be too many.
    """

    def __init__(self, processes: int = 1) -> None:
        self.mine = 0
        """The number of this process. The first one reports what is missing, for all of them."""
        self._seconds, self._in_second, self._left_out, self._reported = (
            memoryview(mmap(-1, 8 * processes)).cast("q") for _ in range(4)
        )

    def take(self, most: int) -> bool:
        """Count a record, and return True; if there were so many in this second, return False."""
        second, mine = int(monotonic()), self.mine
        pairs = zip(self._seconds, self._in_second, strict=True)
        if sum(number for when, number in pairs if when == second) >= most:
            return False
        if self._seconds[mine] != second:
            self._in_second[mine] = 0
            self._seconds[mine] = second
        self._in_second[mine] += 1
        return True

    def leave_out(self, number: int) -> None:
        """Count so many records as missing. Only one thread of a process may do that."""
        self._left_out[self.mine] += number

    def report_at_end(self) -> None:
        """Report once more when the other processes have ended, if anybody reads the log."""
        if _is_read():
            self.report()

    def report(self) -> None:
        """Write how many are missing since the last report, if there are any."""
        missing = sum(self._left_out) - self._reported[0]
        if missing:
            text = "%d log records were left out"
            record = logging.LogRecord(__name__, logging.WARNING, "", 0, text, (missing,), None)
            if _write(f"{logging.Formatter(FORMAT).format(record)}\n".encode()):
                self._reported[0] += missing


class Times(Protocol):
    """Times by name, such as a dictionary has."""

    def get(self, name: str, default: float, /) -> float: ...
    def __setitem__(self, name: str, time: float, /) -> None: ...


class Seldom:
    """Says of a text whether it may be logged: the same one no more than once a minute."""

    def __init__(self, times: Times) -> None:
        """Prepare. Processes that share `times` log a text once together."""
        self._next = times

    def __call__(self, text: str) -> bool:
        now = monotonic()
        if now < self._next.get(text, 0.0):
            return False
        self._next[text] = now + SELDOM
        return True


@contextmanager
def log_to_stderr(
    level: str, process_name: str = "", records: Records | None = None
) -> Iterator[None]:
    """Write records of at least that level to stderr while the context lasts.

    Their texts begin with the name of the process, if it has one. What `records` counts, its
    processes write together.
    """
    records = records or Records()
    handler = _Handler(records)
    _configure(level, handler, process_name)
    # Tornado reports every malformed request here, so anybody could fill the log.
    logging.getLogger("tornado.general").setLevel(logging.WARNING)
    writer = _Writer(handler, records)
    writer.start()
    try:
        yield
    finally:
        writer.stop()


def log_at_once(level: str) -> None:
    """Write records to stderr without a thread, or leave out those that would have to wait."""
    _configure(level, _PlainHandler())


def _configure(level: str, handler: logging.Handler, process_name: str = "") -> None:
    text = f"{process_name}: %(message)s" if process_name else "%(message)s"
    handler.setFormatter(logging.Formatter(FORMAT.replace("%(message)s", text)))
    # In place of those of the process that has started this one.
    logging.basicConfig(level=level, handlers=[handler], force=True)


def say(text: str) -> None:
    """Write a line to stderr without the log. If it cannot be written, the exit code has to do."""
    _write(f"{text}\n".encode(errors="backslashreplace"))


class _PlainHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if _is_read():
            say(self.format(record))


class _Handler(QueueHandler):
    """Puts lines into a queue. `left_out` counts the records that did not get into it."""

    def __init__(self, records: Records) -> None:
        super().__init__(Queue(QUEUED))
        self.left_out = 0
        self._records = records

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name in OPERATORS:
            return True
        rate = RATE if record.levelno >= logging.WARNING else RATE - FOR_WARNINGS
        if self._records.take(rate):
            return True
        self.left_out += 1
        return False

    def prepare(self, record: logging.LogRecord) -> bytes:
        """Format the record now: what it is about may have changed when it is written."""
        return f"{self.format(record)}\n".encode(errors="backslashreplace")

    def enqueue(self, line: bytes) -> None:  # type: ignore[override]
        try:
            self.queue.put_nowait(line)
        except Full:
            self.left_out += 1


class _Writer(Thread):
    """Writes the lines, not through `sys.stderr`, on whose lock Python waits when it ends."""

    def __init__(self, handler: _Handler, records: Records) -> None:
        super().__init__(name="log", daemon=True)
        self._handler = handler
        self._records = records
        self._lost = 0  # Lines that could not be written.
        self._counted = 0  # Of those and of the records left out together.
        self._next_report = 0.0
        self._stopping = Event()

    def stop(self) -> None:
        """Wait until what has been logged is written, for `FLUSH` seconds at most."""
        self._stopping.set()
        with suppress(Full):
            self._handler.queue.put_nowait(b"")  # Wakes the thread.
        self.join(FLUSH)

    def run(self) -> None:
        block_stop_signals()
        lines: Queue[bytes] = self._handler.queue  # type: ignore[assignment]
        while not (self._stopping.is_set() and lines.empty()):
            # A timeout, since records that were left out send nothing through the queue.
            with suppress(Empty):
                if not _write(lines.get(timeout=1)):
                    self._lost += 1
            self._report()

    def _report(self) -> None:
        """Report how many records are missing, at most once a second and at the end."""
        missing = self._handler.left_out + self._lost - self._counted
        self._records.leave_out(missing)
        self._counted += missing
        if self._records.mine == 0 and (
            monotonic() >= self._next_report or self._stopping.is_set()
        ):
            self._records.report()
            self._next_report = monotonic() + 1


def _is_read() -> bool:
    """Wait until a line can be written at once, but not for longer than `FLUSH` seconds."""
    return bool(select.select([], [STDERR], [], FLUSH)[1])


def _write(line: bytes) -> bool:
    """Write the line to stderr and return whether all of it was taken."""
    try:
        while line:
            try:
                line = line[os.write(STDERR, line) :]
            except BlockingIOError:  # Another process that shares the descriptor made it so.
                select.select([], [STDERR], [], 1)
    except OSError:
        return False
    return True
