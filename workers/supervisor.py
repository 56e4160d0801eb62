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
from workers.workers import Shared, Workers

logger = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds that a worker must have lived for its successor to be started at once."""

LOOK_INTERVAL = 0.01
"""Seconds between two looks whether the first worker is up."""


class Supervisor:
    """Runs `count` workers, each of which calls `run` and ends with the exit code it returns."""

    def __init__(self, count: int, run: Callable[[Workers], int]) -> None:
        self._run = run
        self._shared = Shared(count)
        self._alive, self._mine = socket.socketpair()
        self._numbers: dict[int, int] = {}  # By the ids of the processes.
        self._started: dict[int, float] = {}
        # Those that are started when the first one is up. If that fails, as with invalid settings,
        # it is the only one to say so.
        self._later = list(range(1, count))
        self._stopping = False

    def run(self) -> int:
        """Return the exit code when all have ended: 0 after SIGTERM or SIGINT.

        If the first worker ends before it is up, that is the end, and the code is the worker's.
        """
        process.on_stop_signal(self._stop)
        code = 0
        missing = [0]
        while not self._stopping or self._numbers:
            if self._later and self._shared.board.is_up(0):
                missing, self._later = self._later, []
            if not self._stopping:
                missing = [number for number in missing if not self._start(number)]
                if missing:
                    sleep(PAUSE)
                    continue
            pid, status = os.waitpid(-1, os.WNOHANG if self._later else 0)
            if pid == 0:
                sleep(LOOK_INTERVAL)
            number = self._numbers.pop(pid, None)
            # The first process of a container has children that it never made.
            if number is not None:
                again, code_of_all = self._ended(number, status)
                code = max(code, code_of_all)
                if again:
                    missing.append(number)
                    sleep(max(0.0, self._started[number] + PAUSE - monotonic()))
        return code

    def _start(self, number: int) -> bool:
        """Start a worker, and return whether that was possible."""
        # A signal between the fork and the worker's own handlers would be taken for one to this
        # process, and sent to the other workers.
        process.block_stop_signals()
        try:
            pid = os.fork()
        except OSError as error:
            logger.error("worker %d cannot be started: %s", number, error.strerror)
            return False
        else:
            if pid == 0:
                self._work(number)
            self._numbers[pid] = number
            self._started[number] = monotonic()
            return True
        finally:
            process.unblock_stop_signals()

    def _work(self, number: int) -> NoReturn:
        """Be a worker, and end as one: nothing of what this process has yet to do is done."""
        code = 1
        try:
            self._mine.close()
            process.begin()
            announce = number == 0 and not self._started
            self._shared.tallies.begin(number)
            code = self._run(Workers(self._shared, number, self._alive, announce))
        except BaseException:
            print_exc()
        finally:
            process.ignore_stop_signals()
            sys.stdout.flush()
            os._exit(code)

    def _ended(self, number: int, status: int) -> tuple[bool, int]:
        """Take note of how a worker has ended; return whether to start another, and what to return.

        A worker that cannot be started later, as when a file of the settings is being replaced, is
        tried again and again. The others go on.
        """
        code = os.waitstatus_to_exitcode(status)
        self._shared.board.gone(number)
        if self._stopping:
            return False, 0
        if self._later:
            self._stop()
            return False, code if code >= 0 else 128 - code
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        logger.error("worker %d has ended with %s, starting another", number, how)
        return True, 0

    def _stop(self) -> None:
        self._stopping = True
        for pid in tuple(self._numbers):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
