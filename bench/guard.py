"""Sees to it that child processes do not outlive the bench, however it ends.

`python -m bench.guard` reads lines `+PID` and `-PID`. The system closes its input when the bench
ends, by whatever signal. Then it kills the processes that are still on its list.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

_ROOT = Path(__file__).resolve().parent.parent


def environment() -> dict[str, str]:
    """Return an environment in which `python -m bench...` works from any working directory."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}


def _popen(argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a process in a group of its own, so that Ctrl-C reaches only the bench."""
    return subprocess.Popen(argv, process_group=0, **options)


def kill(pid: int) -> None:
    """End a process that `Guard` started, and its descendants, by force.

    Does nothing if it has ended.
    """
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


class Guard:
    """Starts processes and sees to it that they end. A context manager around the whole run."""

    def __init__(self) -> None:
        """Start the process that watches this one."""
        self._watcher: subprocess.Popen[bytes] = _popen(
            [sys.executable, "-m", "bench.guard"], env=environment(), stdin=subprocess.PIPE
        )

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._watcher.stdin is not None
        with suppress(OSError):
            self._watcher.stdin.close()
        self._watcher.wait()

    def start(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process as `subprocess.Popen` does; `end` must be called for it."""
        process = _popen(argv, **options)
        self._tell(f"+{process.pid}")
        return process

    def end(self, process: subprocess.Popen[Any]) -> None:
        """Kill a process and its descendants, if they have not ended, and wait for it."""
        kill(process.pid)
        process.wait()
        self._tell(f"-{process.pid}")

    def _tell(self, line: str) -> None:
        assert self._watcher.stdin is not None
        # A run that ends in order does not need the watcher.
        with suppress(OSError):
            self._watcher.stdin.write(line.encode() + b"\n")
            self._watcher.stdin.flush()


def left(lines: Iterable[str]) -> set[int]:
    """Return the processes that were started and not ended."""
    pids: set[int] = set()
    for line in lines:
        (pids.add if line[0] == "+" else pids.discard)(int(line[1:]))
    return pids


def main(lines: IO[str]) -> None:
    """Wait for the bench to end, then kill the processes that it has left."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    for pid in left(lines):
        kill(pid)


if __name__ == "__main__":
    main(sys.stdin)
