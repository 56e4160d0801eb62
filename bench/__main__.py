"""The command line: `python -m bench --help`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if importlib.util.find_spec("psutil") is None:
    raise SystemExit("bench needs psutil: python -m pip install -r bench/requirements.txt")

from bench import machine, report
from bench.guard import Guard
from bench.load import EVENT_LOOP, is_loopback
from bench.runner import Placement, Runner
from bench.scenarios import SCENARIOS
from bench.server import ServerSpec, distinct, free_port, parse_server
from bench.settings import FULL, QUICK, Settings

SPARE_FILES = 200
"""Descriptors that the server and the load generator each need beside their connections."""

_THIS = ("main.py", "-addr", "{host}", "-port", "{port}")


_TLS = {"SIGNALING_TLS_CERT": "{cert}", "SIGNALING_TLS_KEY": "{key}"}


def this_server() -> list[ServerSpec]:
    """Return this server on each of its two protocols."""
    return [
        ServerSpec(name, (sys.executable, *_THIS), {"SIGNALING_TRANSPORT": name})
        for name in ("auto", "tornado")
    ]


def this_server_over_tls() -> list[ServerSpec]:
    """Return this server over TLS, and the same with all that Tornado has for that."""
    return [
        ServerSpec("auto", (sys.executable, *_THIS), _TLS),
        ServerSpec("tornado", (sys.executable, "-m", "bench.tornado_tls", *_THIS[1:]), _TLS),
    ]


def whole_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def duration(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, up to 600")
    return value


def _numbers(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 0,1000")
    return tuple(sorted(set(map(int, words))))


def _server(text: str) -> ServerSpec:
    try:
        return parse_server(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, SCENARIOS))
    scenarios = "\n".join(f"  {name:{width}}  {each.summary}" for name, each in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Measures signaling servers that speak this server's protocol: CPU time per unit of\n"
            "work, and also throughput, latency, loss and memory. Servers take turns. Figures are\n"
            "medians of the rounds; losses are sums. Ratios are to the last server: below 1.00 is\n"
            "better."
        ),
        epilog=f"scenarios:\n{scenarios}\n\n"
        "The descriptions give the sizes of a full run with the defaults. If a server dies, does\n"
        "not listen within 10 seconds or loses messages, the report says so, and the run goes on.\n"
        "A full run of two servers takes about eight minutes. Nothing else should use the machine\n"
        "meanwhile.",
    )
    parser.add_argument(
        "scenarios", nargs="*", metavar="scenario", help="what to run (default: everything)"
    )
    parser.add_argument(
        "--server",
        action="append",
        type=_server,
        metavar="COMMAND",
        dest="servers",
        help="'[name:] [VAR=value ...] command -addr {host} -port {port}'; may be repeated"
        " (default: this server on both of its protocols, SIGNALING_TRANSPORT=auto and =tornado)",
    )
    parser.add_argument(
        "--baseline",
        metavar="NAME",
        help="the server by whose costs the others' are divided (default: the last one, which"
        " without --server is tornado)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="check in under a minute that everything works"
    )
    parser.add_argument(
        "--tls",
        action="store_true",
        help="measure over TLS, by default this server and the same on Tornado's own TLS; the files"
        " of a certificate replace {cert} and {key} in a --server",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all measurements to FILE")
    parser.add_argument(
        "--plot",
        metavar="FILE.png",
        type=Path,
        help="draw cost against idle rooms (needs the scenario rooms and matplotlib)",
    )
    sizes = parser.add_argument_group("sizes")
    for flag, kind, text in (
        ("rounds", whole_number, "number of rounds, of which the median is taken"),
        ("seconds", duration, "length of a measured window in seconds"),
        ("message-bytes", whole_number, "length of an offer or answer in bytes"),
        ("pairs", whole_number, "number of rooms with two members that talk"),
        ("idle-rooms", _numbers, "numbers of idle rooms in the scenario rooms"),
        ("burst", whole_number, "number of candidates sent at once"),
        ("mesh-members", whole_number, "number of members in the scenario mesh"),
        ("connect-clients", whole_number, "number of concurrent clients in the scenario connect"),
        ("idle-connections", whole_number, "number of connections in the scenario idle"),
        (
            "stall",
            duration,
            "seconds of silence after which a pair sends again without an answer",
        ),
        ("settle", duration, "seconds that the scenario idle waits for a server that closes late"),
    ):
        default = getattr(FULL, flag.replace("-", "_"))
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else f"{default:g}"
        metavar = "N,N" if kind is _numbers else "N"
        sizes.add_argument(f"--{flag}", type=kind, metavar=metavar, help=f"{text} ({shown})")
    where = parser.add_argument_group("where")
    where.add_argument(
        "--host",
        default="127.0.0.1",
        help="loopback address to connect to, which replaces {host} in a --server (%(default)s)",
    )
    where.add_argument(
        "--server-cores",
        type=_numbers,
        metavar="N,N",
        help="cores that the server may use (the first one)",
    )
    where.add_argument(
        "--load-core",
        type=_numbers,
        metavar="N",
        help="core that the load generator may use (the second one)",
    )
    where.add_argument("--token", help="a token for servers that want one (Authorization: Bearer)")
    return parser


def _settings(args: argparse.Namespace) -> Settings:
    base = QUICK if args.quick else FULL
    given = {name: getattr(args, name, None) for name in base.to_json()}
    return replace(base, **{name: value for name, value in given.items() if value is not None})


def _placement(args: argparse.Namespace, warn: list[str]) -> Placement:
    cores = machine.cores()
    if len(cores) < 2:
        why = "only one core" if cores else "the system cannot pin a process to a core"
        warn.append(f"{why}: server and load generator may take CPU time from each other")
        return Placement((), ())
    placement = Placement(args.server_cores or (cores[0],), args.load_core or (cores[1],))
    if set(placement.server) & set(placement.load):
        warn.append("server and load generator share a core")
    return placement


def _fit(settings: Settings, scenarios: Sequence[str], warn: list[str]) -> Settings:
    """Raise the limit of open files as far as needed, or shrink the scenarios and warn of it."""
    wanted = max(SCENARIOS[name].connections(settings) for name in scenarios) + SPARE_FILES
    limit = machine.raise_file_limit(wanted)
    if limit >= wanted:
        return settings
    room = max(0, limit - SPARE_FILES)
    rooms = tuple(n for n in settings.idle_rooms if n + 2 * settings.pairs <= room)
    connections = min(settings.idle_connections, room)
    warn.append(
        f"{wanted:,} open files are needed and only {limit:,} allowed: idle is cut to"
        f" {connections:,} connections, rooms to the steps {', '.join(map(str, rooms)) or '(none)'}"
    )
    return replace(settings, idle_connections=connections, idle_rooms=rooms)


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace, names: list[str]) -> None:
    """Exit with a message if the arguments would fail only after the measurements."""
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    if not is_loopback(args.host):
        parser.error(f"{args.host} is not a loopback address, and load goes nowhere else")
    try:
        free_port(args.host)
    except OSError as error:
        parser.error(f"nothing can listen on {args.host}: {error.strerror}")
    if args.plot and "rooms" not in names:
        parser.error("--plot draws the scenario rooms, which is not selected")
    if args.plot and args.plot.suffix != ".png":
        parser.error(f"--plot writes PNG, and {args.plot} does not end in .png")
    if args.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: python -m pip install -r bench/requirements.txt")
    if args.tls and importlib.util.find_spec("trustme") is None:
        parser.error("--tls needs trustme: python -m pip install -r bench/requirements.txt")
    for path in filter(None, (args.json, args.plot)):
        if not path.resolve().parent.is_dir():
            parser.error(f"no directory {path.parent}")
        if path.is_dir():
            parser.error(f"{path} is a directory")
        if not os.access(path if path.exists() else path.resolve().parent, os.W_OK):
            parser.error(f"{path} cannot be written")
    if args.mesh_members is not None and not 2 <= args.mesh_members <= 500:
        parser.error("a mesh has 2 to 500 members")
    allowed = machine.cores()
    for core in {*(args.server_cores or ()), *(args.load_core or ())}:
        if core not in allowed:
            parser.error(f"no core {core}; there are {', '.join(map(str, allowed)) or 'none'}")
    needs_main = args.servers is None
    if needs_main and not Path("main.py").is_file():
        parser.error("no main.py here: run this in the root of a checkout, or name a --server")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench; return 0, or 1 if a server gave no figures at all, or 130 on Ctrl-C."""
    parser = _parser()
    args = parser.parse_args(argv)
    names: list[str] = list(dict.fromkeys(args.scenarios)) or list(SCENARIOS)
    _check(parser, args, names)
    specs = distinct(args.servers or (this_server_over_tls() if args.tls else this_server()))
    baseline = specs[-1].name if args.baseline is None else args.baseline
    if baseline not in [spec.name for spec in specs]:
        parser.error(f"no server {baseline}; there are {', '.join(spec.name for spec in specs)}")
    warn: list[str] = []
    settings = _fit(_settings(args), names, warn)
    placement = _placement(args, warn)
    if EVENT_LOOP == "asyncio":
        warn.append("without uvloop, the load generator soon reaches its limit")

    about: dict[str, Any] = {
        "machine": machine.describe(),
        "load_generator": {"event_loop": EVENT_LOOP, "cores": placement.load},
        "server_cores": placement.server,
        "settings": settings.to_json(),
        "baseline": baseline,
        "servers": [{"name": spec.name, "command": spec.command} for spec in specs],
        "warnings": warn,
    }
    print(_heading(about))
    sys.stdout.flush()

    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    _leave_in_order()
    try:
        with Guard() as guard, TemporaryDirectory() as directory:
            authority = ""
            if args.tls:
                from bench.certificate import Certificate

                certificate = Certificate.make(directory, args.host)
                specs = [certificate.fill(spec) for spec in specs]
                authority = certificate.authority
            runner = Runner(
                specs, names, settings, placement, args.host, guard, progress, authority
            )
            outcomes = runner.run()
    except KeyboardInterrupt:
        return 130
    rows = report.rows(outcomes, baseline)
    print(report.text(rows, baseline))
    if args.json:
        args.json.write_text(json.dumps(report.to_json(about, rows, outcomes), indent=1) + "\n")
    if args.plot:
        from bench.plot import plot_rooms

        plot_rooms(rows, str(args.plot), about["machine"]["cpu"])
    return 0 if all(any(r.rounds for r in rows if r.server == s.name) for s in specs) else 1


def _leave_in_order() -> None:
    """Turn the signals that end a process into an exception, so that the servers are ended too."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # nohup has the signal ignored, so that the process stays.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda signum, _: sys.exit(128 + signum))


def _heading(about: dict[str, Any]) -> str:
    what = about["machine"]
    lines = [
        f"{what['cpu']}, {what['cores']} cores; {what['system']}; {what['python']}",
        f"load generator: {about['load_generator']['event_loop']}",
    ]
    if about["server_cores"]:
        server = ",".join(map(str, about["server_cores"]))
        load = ",".join(map(str, about["load_generator"]["cores"]))
        lines.append(f"cores: server on {server}, load generator on {load}")
    settings = about["settings"]
    lines.append(
        f"medians of {settings['rounds']} rounds, windows of {settings['seconds']:g} s, "
        f"offers and answers of {settings['message_bytes']:,} bytes"
    )
    lines += [f"{each['name']}: {each['command']}" for each in about["servers"]]
    lines += [f"note: {line}" for line in about["warnings"]]
    return "\n".join(f"- {line}" for line in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
