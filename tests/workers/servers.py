"""Servers of two workers whose key is known, so that a test can say which worker has a room."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests.support.cluster import wait_until_ready
from tests.support.server_process import MAIN, NO_VARIABLES, ServerProcess, server_process
from workers.workers import owner

# In place of a random key, `Shared` gets as many zeros.
_MAIN = f"""
import sys
sys.path.insert(0, {str(MAIN.parent)!r})
import process
process.begin()
import os, main
os.urandom = bytes
main.main()
"""
COMMAND = (sys.executable, "-c", _MAIN)

SOON: Mapping[str, str] = {"SIGNALING_SHUTDOWN_TIMEOUT": "0.1"}
"""For a server that stops before its clients have gone."""

_numbers = count()


@contextmanager
def two_workers(
    env: Mapping[str, str] = NO_VARIABLES, exit_code: int = 0, command: Sequence[str] = COMMAND
) -> Iterator[ServerProcess]:
    """Run a server as `server_process` does, and wait until both workers are ready."""
    with server_process("-workers", "2", env=env, exit_code=exit_code, command=command) as server:
        wait_until_ready(server)
        yield server


def room_of(worker: int) -> str:
    """Return a room that nobody has used, of one of two workers."""
    return next(
        name
        for number in _numbers
        if owner(name := f"room {number} é", key=bytes(16), workers=2) == worker
    )


def workers_of(server: ServerProcess) -> list[int]:
    """Return the ids of the processes that `server` has started and that live, as they came."""
    path = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    return [int(pid) for pid in path.read_text().split()]
