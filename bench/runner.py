"""Runs every scenario, every round and every server, one at a time.

Servers alternate (A B A B A B), so that whatever slows the machine for a while slows all of them.
Each starts anew for each round of each scenario.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.guard import Guard, environment
from bench.load import Job
from bench.measure import Measurement
from bench.scenarios import SCENARIOS
from bench.server import Server, ServerFailed, ServerSpec, on_cores
from bench.settings import Settings

OK = "ok"


@dataclass(frozen=True)
class Placement:
    """The cores of the server and of the load process; empty if the system cannot pin a process."""

    server: tuple[int, ...]
    load: tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """The outcome of one case in one round."""

    server: str
    scenario: str
    case: str
    round: int
    status: str
    """`ok`, or why there is no measurement."""
    measurement: Measurement | None = None


def deadline(scenario: str, settings: Settings) -> float:
    """Return the number of seconds after which a load process is ended, whatever it is doing."""
    windows = len(SCENARIOS[scenario].cases(settings)) + 1
    each = settings.warmup + settings.seconds + 3 * settings.drain + settings.step_timeout
    connections = SCENARIOS[scenario].connections(settings)
    return 30 + windows * each + connections * 0.02 + settings.settle


class Runner:
    """Runs everything. A server that once failed to start is not tried again."""

    def __init__(
        self,
        specs: Sequence[ServerSpec],
        scenarios: Sequence[str],
        settings: Settings,
        placement: Placement,
        host: str,
        guard: Guard,
        progress: Callable[[str], None],
        authority: str = "",
    ) -> None:
        """Prepare; nothing is started yet. With the file of an `authority` all is over TLS."""
        self._specs = specs
        self._scenarios = scenarios
        self._settings = settings
        self._placement = placement
        self._host = host
        self._guard = guard
        self._progress = progress
        self._authority = authority
        self._absent: dict[str, str] = {}

    def run(self) -> list[Outcome]:
        """Return one outcome for each case, round and server."""
        outcomes: list[Outcome] = []
        rounds = self._settings.rounds
        total = len(self._scenarios) * rounds * len(self._specs)
        done = 0
        for scenario in self._scenarios:
            for round_ in range(1, rounds + 1):
                for spec in self._specs:
                    done += 1
                    title = f"[{done}/{total}] {scenario}, round {round_} of {rounds}, {spec.name}"
                    self._progress(title)
                    outcomes += self._one(spec, scenario, round_)
        return outcomes

    def _one(self, spec: ServerSpec, scenario: str, round_: int) -> list[Outcome]:
        found: dict[str, Measurement] = {}
        if spec.name in self._absent:
            status = self._absent[spec.name]
        else:
            try:
                with Server(spec, self._host, self._placement.server, self._guard) as server:
                    server.wait_listening()
                    status = self._load(server, scenario, found)
            except ServerFailed as error:
                status = self._absent[spec.name] = str(error)
        if status != OK:
            self._progress(f"    {status}")
        outcomes: list[Outcome] = []
        for case in SCENARIOS[scenario].cases(self._settings):
            measurement = found.get(case)
            # A measurement that is complete stands, whatever happened afterwards.
            outcome = OK if measurement else status
            if measurement and status != OK:
                measurement.notes.append(f"afterwards {status}")
            outcomes.append(Outcome(spec.name, scenario, case, round_, outcome, measurement))
        return outcomes

    def _load(self, server: Server, scenario: str, found: dict[str, Measurement]) -> str:
        """Run the load process, put its measurements into `found`, and return how it ended."""
        job = Job(scenario, self._host, server.port, server.pid, self._settings, self._authority)
        limit = deadline(scenario, self._settings)
        ending = "the load generator failed"
        with on_cores(self._placement.load):
            process = self._guard.start(
                [sys.executable, "-m", "bench.load"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
            )
        assert process.stdin is not None and process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limit, end)
        timer.start()
        try:
            process.stdin.write(json.dumps(job.to_json()) + "\n")
            process.stdin.close()
            for line in process.stdout:
                message: dict[str, Any] = json.loads(line)
                if "measurement" in message:
                    measurement = Measurement(**message["measurement"])
                    found[measurement.case] = measurement
                    self._progress(f"    {summary(measurement)}")
                elif "progress" in message:
                    self._progress(f"    {message['progress']}")
                else:
                    ending = message["end"] or OK
        except BrokenPipeError:
            pass
        finally:
            timer.cancel()
            # Its output or this run has ended, so it has nothing more to say.
            self._guard.end(process)
            process.stdout.close()
        if late.is_set():
            ending = f"gave up after {limit:.0f} s"
        return server.fate() or ending


def summary(measurement: Measurement) -> str:
    """Return the progress line of a measurement."""
    figures = measurement.figures()
    parts = [measurement.case]
    if "cpu_us_per_unit" in figures:
        parts.append(f"{figures['cpu_us_per_unit']:.1f} us/{measurement.unit}")
        parts.append(f"{figures['units_per_s']:,.0f}/s")
    if "kib_per_connection" in figures:
        parts.append(f"{figures['kib_per_connection']:.1f} KiB/connection")
    if measurement.sent:
        parts.append(f"lost {measurement.lost:,} of {measurement.sent:,}")
    if measurement.load_share is not None and measurement.units:
        parts.append(f"load generator {measurement.load_share:.0%}")
    return ", ".join([*parts, *measurement.notes])
