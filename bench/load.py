"""The load process: `python -m bench.load` reads one job as JSON from standard input and runs it.

It answers on standard output with one JSON object a line: `{"progress": text}`, `{"measurement":
{...}}` for each complete measurement, and at the end `{"end": text}`, where an empty text means
that the scenario ran to its end. As a process of its own, it has a core, an interpreter lock and a
CPU clock of its own.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import json
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from ssl import create_default_context
from typing import Any

from bench.client import StepFailed
from bench.measure import Measurement
from bench.readings import ServerGone, Tree
from bench.scenarios import SCENARIOS
from bench.scenarios.context import Context
from bench.settings import Settings

try:
    import uvloop

    EVENT_LOOP = f"uvloop {version('uvloop')}"
except ImportError:
    EVENT_LOOP = "asyncio"


@dataclass(frozen=True)
class Job:
    """One scenario to run against one server that listens already."""

    scenario: str
    host: str
    port: int
    pid: int
    """The server's first process."""
    settings: Settings
    authority: str = ""
    """The file of whom to trust over TLS; empty for no TLS."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads back."""
        return {**asdict(self), "settings": self.settings.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Job:
        """Rebuild a job from `to_json`."""
        return cls(**{**values, "settings": Settings.from_json(values["settings"])})


def is_loopback(host: str) -> bool:
    """Return whether `host` is a literal loopback address. Load may go to no other."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, on uvloop if that is installed, else on asyncio's own loop."""
    if EVENT_LOOP == "asyncio":
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)


async def run_job(job: Job, say: Callable[[dict[str, Any]], None]) -> str:
    """Run a scenario and return why it ended early, or ""."""

    def emit(measurement: Measurement) -> None:
        say({"measurement": measurement.to_json()})

    def progress(text: str) -> None:
        say({"progress": text})

    try:
        tls = create_default_context(cafile=job.authority) if job.authority else None
        context = Context(job.host, job.port, Tree(job.pid), job.settings, emit, progress, tls)
        try:
            await SCENARIOS[job.scenario].run(context)
        finally:
            for client in context.clients:
                client.abort()
    except (ServerGone, StepFailed) as error:
        return str(error)
    return ""


def main() -> None:
    """Run the job from standard input."""
    job = Job.from_json(json.loads(sys.stdin.readline()))
    if not is_loopback(job.host):
        raise SystemExit(f"refused: {job.host} is not a loopback address")
    # Otherwise the collector would look through thousands of connections again and again.
    gc.set_threshold(50_000, 20, 100)

    def say(value: dict[str, Any]) -> None:
        print(json.dumps(value), flush=True)

    async def work() -> None:
        say({"end": await run_job(job, say)})

    # If the pipe is broken, nobody is left to be told.
    with suppress(KeyboardInterrupt, BrokenPipeError):
        run(work())


if __name__ == "__main__":
    main()
