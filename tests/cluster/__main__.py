"""The command line: `python -m tests.cluster --help`."""

import argparse
import logging
import sys
from collections import Counter
from time import process_time
from tests.cluster.simulation import PROFILES, simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster")
    parser.add_argument("--seeds", nargs=2, type=int, default=(0, 1000), metavar=("FIRST", "END"))
    parser.add_argument("--profile", choices=[*PROFILES, "every"], default="every")
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    failed = 0
    kinds = Counter()
    for profile in PROFILES if options.profile == "every" else [options.profile]:
        start = process_time()
        for seed in range(*options.seeds):
            try:
                found = simulate(seed, profile, print if options.verbose else None)
            except Exception as e:
                if not options.keep_going: raise
                found = [repr(e)]
            if found:
                failed += 1
                kinds.update({f[:2] for f in found})
                print(profile, seed, *found, sep="\n  ")
                if not options.keep_going:
                    return 1
        print(profile, options.seeds, f"{(options.seeds[1] - options.seeds[0]) / (process_time() - start):.0f} seeds/s", failed, kinds, flush=True)
    return bool(failed)


sys.exit(main())
