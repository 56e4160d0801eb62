"""The log on stderr, which can hold up nothing, whoever reads it and however slowly.

`logger.info` and the others put a record into a bounded queue, and a thread writes it. Records that
find the queue full are left out, and so are those beyond a hundred in a second that clients cause.
How many were left out is a record too, as soon as it can be.
"""

import logging
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler
from queue import Empty, Full, Queue
from threading import Event, Thread
from time import monotonic

from process import block_stop_signals

STDERR = 2

FORMAT = "%(asctime)s %(levelname)s %(message)s"

QUEUED = 1000
"""Records that may wait to be written."""

RATE = 100
"""Records in a second that clients can cause, all of them together."""

FOR_WARNINGS = 10
"""How many of them are kept for warnings and errors, so that no join can hide one."""

OPERATORS = ("__main__", "server")
"""Loggers of what no client causes."""

FLUSH = 0.5
"""Seconds at the end for what still waits to be written."""


@contextmanager
def log_to_stderr(level: str) -> Iterator[None]:
    """While this lasts, records of at least that level are written to stderr."""
    handler = _Handler()
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])
    # Tornado reports every malformed request there, so anybody could fill the log.
    logging.getLogger("tornado.general").setLevel(logging.WARNING)
    writer = _Writer(handler)
    writer.start()
    try:
        yield
    finally:
        writer.stop()


def say(text: str) -> None:
    """Write a line to stderr past the log, also if nobody can read it: the exit code counts."""
    _write(f"{text}\n".encode(errors="backslashreplace"))


class _Handler(QueueHandler):
    """Puts lines into a queue; `left_out` counts the records for which there was no room."""

    def __init__(self) -> None:
        super().__init__(Queue(QUEUED))
        self.left_out = 0
        self._second = monotonic()
        self._in_second = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name in OPERATORS:
            return True
        now = monotonic()
        if now - self._second >= 1:
            self._second = now
            self._in_second = 0
        rate = RATE if record.levelno >= logging.WARNING else RATE - FOR_WARNINGS
        if self._in_second >= rate:
            self.left_out += 1
            return False
        self._in_second += 1
        return True

    def prepare(self, record: logging.LogRecord) -> bytes:
        """The text now: what it is about may be another by the time it is written."""
        return f"{self.format(record)}\n".encode(errors="backslashreplace")

    def enqueue(self, line: bytes) -> None:  # type: ignore[override]
        try:
            self.queue.put_nowait(line)
        except Full:
            self.left_out += 1


class _Writer(Thread):
    """Writes the lines, past `sys.stderr`: that has a lock, which Python waits for at its end."""

    def __init__(self, handler: _Handler) -> None:
        super().__init__(name="log", daemon=True)
        self._handler = handler
        # Lines that could not be written; what of those and of the records left out was reported,
        # and when the next report may come.
        self._lost = 0
        self._reported = 0
        self._next_report = 0.0
        self._stopping = Event()

    def stop(self) -> None:
        """Waits until what has been logged is written, but not for long."""
        self._stopping.set()
        with suppress(Full):
            self._handler.queue.put_nowait(b"")  # So that it looks.
        self.join(FLUSH)

    def run(self) -> None:
        block_stop_signals()
        lines: Queue[bytes] = self._handler.queue  # type: ignore[assignment]
        while not (self._stopping.is_set() and lines.empty()):
            # Nothing announces that records have been left out.
            with suppress(Empty):
                if not _write(lines.get(timeout=1)):
                    self._lost += 1
            self._report()

    def _report(self) -> None:
        """Says how many records are missing, at most once in a second and at the end."""
        missing = self._handler.left_out + self._lost - self._reported
        if missing and (monotonic() >= self._next_report or self._stopping.is_set()):
            text = "%d log records were left out"
            record = logging.LogRecord(__name__, logging.WARNING, "", 0, text, (missing,), None)
            if _write(self._handler.prepare(record)):
                self._reported += missing
            self._next_report = monotonic() + 1


def _write(line: bytes) -> bool:
    """Whether all of it was taken."""
    try:
        while line:
            try:
                line = line[os.write(STDERR, line) :]
            except BlockingIOError:  # Whoever shares the descriptor has made it so.
                select.select([], [STDERR], [], 1)
    except OSError:
        return False
    return True
