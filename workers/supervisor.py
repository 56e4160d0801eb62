"""Starts the workers, starts one anew when it dies, and stops them all.

This process serves nobody. It is forked for each worker, and so has neither threads nor an event
loop, which would not survive that, and has imported little.
"""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep
from traceback import print_exc
from typing import NoReturn

import process
from workers.post import inboxes
from workers.tallies import Tallies
from workers.workers import Workers

logger = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds that a worker must have lived for its successor to be started at once."""

INVALID = 2
"""The exit code of a worker that cannot be started with these settings."""


class Supervisor:
    """Runs `count` workers, each of which calls `run` and ends with the exit code it returns."""

    def __init__(self, count: int, run: Callable[[Workers], int]) -> None:
        self._run = run
        self._inboxes = inboxes(count)
        self._tallies = Tallies(count)
        self._alive, self._mine = socket.socketpair()
        self._numbers: dict[int, int] = {}  # By the ids of the processes.
        self._started: dict[int, float] = {}
        self._stopping = False

    def run(self) -> int:
        """Return the exit code when all have ended: 0 after SIGTERM or SIGINT."""
        process.on_stop_signal(self._stop)
        for number in range(len(self._inboxes)):
            self._start(number)
        code = 0
        while self._numbers:
            pid, status = os.wait()
            number = self._numbers.pop(pid)
            code = max(code, self._ended(number, status))
            if not self._stopping:
                sleep(max(0.0, self._started[number] + PAUSE - monotonic()))
            if not self._stopping:
                self._start(number)
        return code

    def _start(self, number: int) -> None:
        # A signal between the fork and the worker's own handlers would be taken for one to this
        # process, and sent to the other workers.
        process.block_stop_signals()
        pid = os.fork()
        if pid == 0:
            self._work(number)
        self._numbers[pid] = number
        self._started[number] = monotonic()
        process.unblock_stop_signals()
        if self._stopping:
            os.kill(pid, signal.SIGTERM)

    def _work(self, number: int) -> NoReturn:
        """Be a worker, and end as one: nothing of what this process has yet to do is done."""
        code = 1
        try:
            self._mine.close()
            process.begin()
            announce = number == 0 and not self._started
            self._tallies.begin(number)
            workers = Workers(self._inboxes, number, self._alive, self._tallies, announce)
            code = self._run(workers)
        except BaseException:
            print_exc()
        finally:
            process.ignore_stop_signals()
            sys.stdout.flush()
            os._exit(code)

    def _ended(self, number: int, status: int) -> int:
        """Take note of how a worker has ended, and return the exit code if that is for good."""
        code = os.waitstatus_to_exitcode(status)
        if self._stopping:
            return 0
        if code == INVALID:
            self._stop()
            return code
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        logger.error("worker %d has ended with %s, starting another", number, how)
        return 0

    def _stop(self) -> None:
        self._stopping = True
        for pid in tuple(self._numbers):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
