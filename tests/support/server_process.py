"""The server as a user runs it: ``main.py`` in a process of its own.

`run_main` is for command lines that end by themselves, `server_process` for servers to talk to.
Both leave out the environment variables and the ``.env`` of whoever runs the tests.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from config.config import PREFIX

TESTS = Path(__file__).resolve().parent.parent
MAIN = TESTS.parent / "main.py"

Transport = Literal["auto", "tornado"]
"""The values of `SIGNALING_TRANSPORT`."""

TRANSPORTS: tuple[Transport, ...] = ("auto", "tornado")

LISTENING = re.compile(r"listening on (?P<host>\S+):(?P<port>\d+)")
COMMAND = (sys.executable, str(MAIN))
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


def run_main(
    *args: str, env: Mapping[str, str] = NO_VARIABLES, cwd: Path = TESTS
) -> subprocess.CompletedProcess[str]:
    """Run ``main.py`` with these arguments to its end, which must come within ten seconds."""
    return subprocess.run(
        [*COMMAND, *args],
        cwd=cwd,
        env=_environment(env),
        capture_output=True,
        text=True,
        timeout=10,
    )


class ServerProcess:
    """A running server, at `host` and `port`.

    The methods block. If clients in the same event loop must go on meanwhile, call those that wait
    through `asyncio.to_thread`.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._reader.start()
        self.host = ""
        self.port = 0
        self.scheme = "ws"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/connect"

    @property
    def lines(self) -> list[str]:
        """The lines that the server has written to stderr so far."""
        with self._changed:
            return list(self._lines)

    def wait_for_line(self, pattern: str, timeout: float = 5) -> re.Match[str]:
        """Return the first line that matches, also a past one; wait up to `timeout` seconds."""

        def found() -> re.Match[str] | None:
            return next(filter(None, (re.search(pattern, line) for line in self._lines)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, timeout)
            match = found()
        if match is None:
            raise AssertionError(f"no line {pattern!r} in:\n" + "\n".join(self.lines))
        return match

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the server, as a crash would. `server_process` then needs `exit_code=-9`."""
        self._process.kill()
        self._process.wait()

    def wait(self, timeout: float = 5) -> int:
        """Wait for the server to end and return its exit code; then `lines` is complete."""
        code = self._process.wait(timeout)
        self._reader.join(timeout)
        return code

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@contextmanager
def server_process(
    *flags: str,
    env: Mapping[str, str] = NO_VARIABLES,
    cwd: Path = TESTS,
    exit_code: int = 0,
    command: Sequence[str] = COMMAND,
) -> Iterator[ServerProcess]:
    """Run a server on a free port of 127.0.0.1, unless `flags` say otherwise; end it on leaving.

    It is a failure if the server has not ended five seconds after SIGTERM and is killed, if it ends
    with another exit code, or if it has written a traceback.
    """
    with subprocess.Popen(
        [*command, "-addr", "127.0.0.1", "-port", "0", *flags],
        cwd=cwd,
        env=_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            server = ServerProcess(process)
            listening = server.wait_for_line(LISTENING.pattern, timeout=10)
            server.host, server.port = listening["host"], int(listening["port"])
            if "SIGNALING_TLS_CERT" in env or "-tls-cert" in flags:
                server.scheme = "wss"
            yield server
            process.terminate()
            code = server.wait()
        finally:
            process.kill()
    healthy = code == exit_code and not any("Traceback" in line for line in server.lines)
    assert healthy, "\n".join([*server.lines, f"exit code {code}"])


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name != "PORT" and not name.startswith((PREFIX, "REDIS_"))
    }
    return inherited | dict(extra)
