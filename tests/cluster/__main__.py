"""The command line: `python -m tests.cluster --help`."""

import argparse
import logging
import sys
from time import perf_counter

from tests.cluster.faults import PROFILES
from tests.cluster.simulation import profile_of, repeat, simulate


def main() -> int:
    """Print what does not hold, and how to repeat it; return 1 if there is something."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster",
        description="Runs random histories of servers that share their rooms, each of a seed.",
    )
    parser.add_argument(
        "--seeds",
        nargs=2,
        type=int,
        default=(0, 1000),
        metavar=("FIRST", "END"),
        help="the end is not included (default: 0 1000)",
    )
    parser.add_argument(
        "--profile", choices=PROFILES, help="which faults there are (default: in turn)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print all that happens")
    options = parser.parse_args()
    logging.getLogger("manager").setLevel(logging.ERROR)
    failed, start = 0, perf_counter()
    seeds = range(*options.seeds)
    for seed in seeds:
        profile = options.profile or profile_of(seed)
        found = simulate(seed, profile, print if options.verbose else None)
        if found:
            failed += 1
            print(repeat(seed, profile), *found, sep="\n  ", flush=True)
    rate = len(seeds) / (perf_counter() - start)
    print(f"{len(seeds)} histories, {rate:.0f} a second; {failed} with violations")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
