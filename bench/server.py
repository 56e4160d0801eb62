"""Parses the command of a server, and starts, watches and ends the server."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePath

import psutil  # type: ignore[import-untyped, import-not-found, unused-ignore]

from bench.guard import Guard

LISTEN_TIMEOUT = 10.0
"""How long a server has to accept its first connection, in seconds."""

STOP_TIMEOUT = 5.0
"""How long a server has to end after it was asked to, in seconds."""

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_FATAL = re.compile(rb"^(?:fatal error|panic):.*", re.MULTILINE)
_TAIL = 2**26
"""How much of the end of a dead server's output is searched for the reason, in bytes."""


class ServerFailed(Exception):
    """A server did not start to listen. The message says why."""


@dataclass(frozen=True)
class ServerSpec:
    """A command that starts a server; `{port}` and `{host}` in it stand for where to listen."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command as one would type it, without the directory of its program."""
        words = [f"{key}={shlex.quote(value)}" for key, value in self.env.items()]
        words += [PurePath(self.argv[0]).name, *self.argv[1:]]
        return " ".join(word if "{" in word or "=" in word else shlex.quote(word) for word in words)


def parse_server(text: str) -> ServerSpec:
    """Read `[name:] [VAR=value ...] command [argument ...]`.

    Without a name, the server is called by its variables, if any, and its command or script.
    Raises ValueError with a message that says what is wrong.
    """
    words = shlex.split(text)
    name = ""
    if words and words[0].endswith(":") and len(words[0]) > 1:
        name = words.pop(0)[:-1]
    env: dict[str, str] = {}
    while words and _ASSIGNMENT.match(words[0]):
        key, _, value = words.pop(0).partition("=")
        env[key] = value
    if not words:
        raise ValueError(f"no command in {text!r}")
    if not any("{port}" in word for word in [*words, *env.values()]):
        raise ValueError(f"no {{port}} in {text!r}: the server must be told where to listen")
    if not name:
        script = next((word for word in words[1:] if word.endswith((".py", ".js"))), words[0])
        name = " ".join([*(f"{key}={value}" for key, value in env.items()), PurePath(script).name])
        name = name.replace("{port}", "").strip()
    return ServerSpec(name, tuple(words), env)


def distinct(specs: Sequence[ServerSpec]) -> list[ServerSpec]:
    """Add a number to names that occur more than once."""
    names = [spec.name for spec in specs]
    result: list[ServerSpec] = []
    for index, spec in enumerate(specs):
        name = spec.name
        if names.count(name) > 1:
            name = f"{name} #{names[: index + 1].count(name)}"
        result.append(ServerSpec(name, spec.argv, spec.env))
    return result


@contextmanager
def on_cores(cores: Iterable[int]) -> Iterator[None]:
    """Let processes that are started inside run on `cores` only, if the system can do that.

    They inherit this, since a runtime that sizes itself by its cores looks at them before anybody
    could move it.
    """
    wanted = set(cores)
    if not wanted or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port(host: str) -> int:
    """Return a port on which nobody listens at the moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A running server process with a port of its own. As a context manager, it ends the process.

    Its output goes to a temporary file, as to a log file. Writing that is part of its cost.
    """

    def __init__(self, spec: ServerSpec, host: str, cores: Iterable[int], guard: Guard) -> None:
        """Start the command on `cores`; raise ServerFailed if there is no such command."""
        self._guard = guard
        self.host = host
        self.port = free_port(host)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        try:
            with on_cores(cores):
                self._process = guard.start(
                    [self._fill(word) for word in spec.argv],
                    env={**os.environ, **{k: self._fill(v) for k, v in spec.env.items()}},
                    stdin=subprocess.DEVNULL,
                    stdout=self._output,
                    stderr=subprocess.STDOUT,
                )
        except OSError as error:
            self._output.close()
            raise ServerFailed(f"cannot start {spec.argv[0]}: {error.strerror}") from error
        self.pid = self._process.pid

    def _fill(self, word: str) -> str:
        return word.replace("{port}", str(self.port)).replace("{host}", self.host)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_listening(self) -> None:
        """Wait until the port accepts a connection; raise ServerFailed if that takes over 10 s."""
        deadline = time.monotonic() + LISTEN_TIMEOUT
        while time.monotonic() < deadline:
            if (fate := self.fate()) is not None:
                raise ServerFailed(f"{fate} before listening")
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        where = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        raise ServerFailed(f"not listening on {where} within {LISTEN_TIMEOUT:g} s")

    def fate(self) -> str | None:
        """Return how the server died, with the last line of its output; None while it lives."""
        code = self._process.poll()
        if code is None:
            return None
        ending = f"signal {-code}" if code < 0 else f"exit {code}"
        self._output.seek(0, os.SEEK_END)
        # A crash may end in the traces of thousands of threads, with the reason above them.
        self._output.seek(max(0, self._output.tell() - _TAIL))
        tail = self._output.read()
        found = _FATAL.search(tail)
        lines = tail.strip().splitlines()
        words = found.group() if found else lines[-1] if lines else b""
        text = words.decode("utf-8", "replace").strip()[:100]
        return f"died ({ending}{': ' + text if text else ''})"

    def stop(self) -> None:
        """Ask the server to end, and end it by force after 5 s; end its descendants by force."""
        family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.pid).children(recursive=True)
        try:
            if self._process.poll() is None:
                self._process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_TIMEOUT)
        finally:
            self._guard.end(self._process)
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._output.close()
