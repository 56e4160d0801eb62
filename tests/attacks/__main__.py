"""The command line: `python -m tests.attacks --help`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from subprocess import TimeoutExpired

from tests.attacks.attack import MIB
from tests.attacks.attacks import ATTACKS
from tests.attacks.row import Row, measure, percentile
from tests.support.server_process import MAIN

COLUMNS = (
    "attack",
    "an offer takes: p50 / p99 / max",
    "a newcomer: p50 / max",
    "memory: before / peak / after",
    "load",
    "log",
    "attacker sent",
)
ABOUT = """\
Times are milliseconds of the server's CPU time. The server's memory and what the attacker has sent
are in MiB, its load is a part of a core, its log is in kB a second."""
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def cells(row: Row) -> str:
    """Return a row of the table in Markdown."""
    relays, newcomers = row.waits.relays, row.waits.newcomers or [0.0]
    waits = " / ".join(
        f"{value:.2f}" for value in (median(relays), percentile(relays, 0.99), max(relays))
    )
    texts = [
        row.attack.name,
        waits,
        f"{median(newcomers):.0f} / {max(newcomers):.0f}",
        f"{row.before:.0f} / {row.peak:.0f} / {row.after:.0f}",
        f"{row.waits.load:.2f}",
        f"{row.log / 1000:.0f}",
        f"{row.account.sent / MIB:.1f}",
    ]
    return f"| {' | '.join(texts)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and which bounds do not hold; return 1 if there is one."""
    width = max(map(len, ATTACKS))
    rows = "\n".join(f"  {name:{width}}  {each.what}" for name, each in ATTACKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.attacks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Attacks a server and prints, in Markdown, what honest clients have to bear."
        " The bounds that do not hold are below the table; the exit code is 1 if there are any.",
        epilog=f"rows:\n{rows}",
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="an attack (default: all)")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="how long an attack lasts at least (%(default)g)"
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="SETTING",
        help="a setting that the server does not have: it is left out; may be repeated",
    )
    parser.add_argument("--quick", action="store_true", help="only those of `make test`")
    parser.add_argument(
        "--server-dir",
        type=Path,
        default=MAIN.parent,
        metavar="DIR",
        help="attack the server of another checkout, with this Python",
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.rows if name not in ATTACKS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}")
    chosen = [
        each
        for name, each in ATTACKS.items()
        if (name in options.rows or not options.rows) and (each.quick or not options.quick)
    ]
    print(ABOUT, HEAD, sep="\n\n", flush=True)
    broken: list[str] = []
    for each in chosen:
        try:
            row = measure(each, options.seconds, options.server_dir, options.without)
        except (AssertionError, OSError, TimeoutExpired) as error:
            broken.append(f"{each.name}: {error}")
            print(f"| {each.name} | {str(error).splitlines()[-1]} | | | |", flush=True)
            continue
        print(cells(row), flush=True)
        broken += [f"{each.name}: {text}" for text in row.broken()]
    print("\n" + ("\n".join(broken) if broken else "all bounds hold"))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
