"""One row of the table: a server, an attack on it, and the bounds that must hold meanwhile."""

import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.attacks.attack import Attack
from tests.attacks.attacker import NICE, Account, attacker
from tests.attacks.measure import Waits, Witnesses, forget_peak, resident
from tests.support.server_process import MAIN, ServerProcess, server_process

QUIET = 0.15
"""Milliseconds of CPU time that an offer takes in the median while nobody attacks, on the machine
for which the bounds below are meant. On a slower or busier one, they are as many times longer."""

SLOWEST = 4.0
"""How many times at most."""

CALM = 0.3
"""Seconds for which that is measured before each attack."""

WORST = 250.0
"""Milliseconds of CPU time within which every offer must arrive. Only one waits while the server
does a single thing for seconds, which no percentile shows."""

KEPT = 48.0
"""MiB more than before that the server may have when the attack is over.

glibc keeps freed memory below anything that is still in use, and so does the interpreter. That can
be most of what was used at most, which is at most twice the 32 MiB of `memory.CEILING`. It is used
again by the next attack.
"""

SETTLE = 5.0
"""Seconds that the server has to give the memory back."""

TRANSPORT = "SIGNALING_TRANSPORT"

LOG = 50_000
"""Bytes a second that the server may log: clients cause a hundred records in that time."""


@dataclass(frozen=True)
class Row:
    """What was measured."""

    attack: Attack
    quiet: float
    """Milliseconds that an offer took in the median before the attack."""
    waits: Waits
    account: Account
    before: float
    """MiB of the server's memory before it is attacked."""
    peak: float
    """The most that it has had."""
    after: float
    """What it has when the attack is over."""
    log: float
    """Bytes a second that it has logged."""
    transport: str
    """What reads and writes its frames."""

    def broken(self) -> list[str]:
        """Return which bounds do not hold, and how."""
        attack, account = self.attack, self.account
        found: list[str] = []

        def check(holds: bool, text: str) -> None:
            if not holds:
                found.append(text)

        check(self.log < LOG, f"log: {self.log:,.0f} bytes a second")
        check(not account.disordered, f"attacker: {account.disordered} offers came out of order")
        if self.transport == "tornado":
            return found
        waits = self.waits
        slower = min(max(self.quiet / QUIET, 1.0), SLOWEST)
        relay, worst = percentile(waits.relays, 0.99), max(waits.relays)
        check(relay < attack.relay * slower, f"offers: p99 is {relay:.1f} ms")
        check(worst < WORST * slower, f"offers: the longest is {worst:.0f} ms")
        newcomer = median(waits.newcomers or [0.0])
        check(newcomer < attack.newcomer * slower, f"newcomers: the median is {newcomer:.0f} ms")
        check(not waits.refused, f"newcomers: {waits.refused} were refused")
        load = waits.load
        check(attack.load is None or load < attack.load, f"load: {load:.2f} of a core")
        grown = self.peak - self.before
        check(attack.growth is None or grown < attack.growth, f"memory: grows by {grown:.0f} MiB")
        kept = self.after - self.before
        check(kept < KEPT, f"memory: {kept:.0f} MiB are kept")
        check(bool(account.heard) or not attack.echoes, "attacker: none of its offers came back")
        left = account.opened - account.closed
        check(not attack.dropped or not left, f"attacker: {left} connections were not dropped")
        return found


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of at least one value."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def measure(
    attack: Attack,
    seconds: float,
    directory: Path = MAIN.parent,
    without: Sequence[str] = (),
) -> Row:
    """Attack a server of the checkout in ``directory`` for at least that many seconds.

    ``without`` names settings that this server does not have.
    """
    command: tuple[str, ...] = ("nice", "-n", str(NICE), sys.executable, str(directory / "main.py"))
    if attack.files is not None:
        command = ("sh", "-c", f'ulimit -n {attack.files}; exec "$@"', "sh", *command)
    env = {name: value for name, value in _environment(attack).items() if name not in without}
    with server_process("-demo", env=env, command=command) as server:
        return _measure(attack, seconds, server)


def _measure(attack: Attack, seconds: float, server: ServerProcess) -> Row:
    pid = server.pid
    with closing(Witnesses(server.url, pid)) as witnesses:
        quiet = median(witnesses.observe(CALM).relays)
        before = resident(pid)
        forget_peak(pid)
        with attacker(attack, server.url) as attacking:
            lines = len(server.lines)
            start = time.monotonic()
            attacking.begin()
            waits = witnesses.observe(seconds)
            account = attacking.stop()
        peak = resident(pid, peak=True)
        over = time.monotonic()
        while (after := resident(pid)) - before >= KEPT and time.monotonic() < over + SETTLE:
            time.sleep(0.05)
        # Whoever was there before is still there.
        witnesses.observe(0)
        logged = sum(len(line.encode()) + 1 for line in server.lines[lines:])
    log = logged / (time.monotonic() - start)
    return Row(attack, quiet, waits, account, before, peak, after, log, _transport())


def _environment(attack: Attack) -> dict[str, str]:
    # Under `make coverage` it would count the lines of this server too, which slows it down.
    uncounted = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}
    return {**attack.env, TRANSPORT: _transport(), **uncounted}


def _transport() -> str:
    return os.environ.get(TRANSPORT) or "auto"
