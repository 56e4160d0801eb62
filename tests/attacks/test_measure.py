"""The measurement sees what it is for, and nothing else."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.attacks.attacker import Account
from tests.attacks.attacks import ATTACKS
from tests.attacks.measure import CpuClock, Waits
from tests.attacks.row import QUIET, Row, measure, percentile
from tests.support.proc import cpu_time, needs_proc
from tests.support.server_process import MAIN

SLOW_SERVER = f"""\
import sys, time
sys.path.insert(0, {str(MAIN.parent)!r})
import main
from handler.handler import Handler

def slow(self, payload, quick=Handler._handle_sdp_offer):
    end = {{clock}}() + 0.03
    while {{clock}}() < end:
        {{wait}}
    quick(self, payload)

Handler._handlers["offer"] = slow
main.main()
"""


@needs_proc
@pytest.mark.parametrize(
    ("clock", "wait", "held"),
    [("time.process_time", "pass", False), ("time.monotonic", "time.sleep(0.03)", True)],
    ids=["busy", "asleep"],
)
def test_only_cpu_time_counts(tmp_path: Path, clock: str, wait: str, held: bool) -> None:
    """A server that computes 30 ms for an offer breaks the bound; one that sleeps does not."""
    (tmp_path / "main.py").write_text(SLOW_SERVER.format(clock=clock, wait=wait))
    row = measure(ATTACKS["quiet"], 0.2, tmp_path)
    assert (percentile(row.waits.relays, 0.5) < 20) == held
    assert (replace(row, quiet=QUIET).broken() == []) == held


@needs_proc
def test_cpu_clock() -> None:
    """The clock runs only while the process does; `/proc` says the same in ticks of 10 ms."""
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout
        clock = CpuClock(process.pid)
        process.stdout.readline()
        used = clock.now()
        assert used >= 300
        assert abs(used - cpu_time(process.pid) * 1000) < 30
        time.sleep(0.1)
        assert clock.now() - used < 10
        process.stdin.close()


GOOD = Row(
    attack=ATTACKS["empty-messages"],
    quiet=0.1,
    waits=Waits([1.0] * 200, [5.0]),
    account=Account(sent=1000, opened=10, closed=0, heard=5, disordered=0),
    before=40,
    peak=50,
    after=45,
    log=1000,
    transport="auto",
)
STRICT = replace(GOOD.attack, dropped=True, growth=8, load=0.3)


@pytest.mark.parametrize(
    ("row", "broken"),
    [
        (GOOD, []),
        (replace(GOOD, waits=Waits([1.0] * 99 + [30.0], [5.0])), []),
        (replace(GOOD, waits=Waits([1.0] * 98 + [30.0] * 2, [5.0])), ["offers: p99 is 30.0 ms"]),
        (replace(GOOD, waits=Waits([1.0] * 98 + [30.0] * 2, [150.0]), quiet=0.3), []),
        (replace(GOOD, waits=Waits([1.0] * 99 + [300.0])), ["offers: the longest is 300 ms"]),
        (replace(GOOD, waits=Waits([1.0] * 98 + [300.0] * 2), transport="tornado"), []),
        (replace(GOOD, waits=Waits([1.0], [200.0])), ["newcomers: the median is 200 ms"]),
        (replace(GOOD, waits=Waits([1.0], [], refused=2)), ["newcomers: 2 were refused"]),
        (replace(GOOD, after=95), ["memory: 55 MiB are kept"]),
        (replace(GOOD, log=60_000), ["log: 60,000 bytes a second"]),
        (
            replace(GOOD, account=replace(GOOD.account, disordered=1)),
            ["attacker: 1 offers came out of order"],
        ),
        (
            replace(GOOD, account=replace(GOOD.account, heard=0)),
            ["attacker: none of its offers came back"],
        ),
        (
            replace(GOOD, attack=STRICT, waits=replace(GOOD.waits, load=0.5)),
            [
                "load: 0.50 of a core",
                "memory: grows by 10 MiB",
                "attacker: 10 connections were not dropped",
            ],
        ),
    ],
)
def test_bounds(row: Row, broken: list[str]) -> None:
    """Each bound that does not hold is named, with the figure."""
    assert row.broken() == broken
