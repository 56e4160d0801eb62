"""Random histories of servers that share their rooms, at the end of which all must be well."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.redis_bus import SCRIPT
from tests.cluster.simulation import simulate

ROOT = Path(__file__).resolve().parents[2]

SEEDS = 200
"""As many as take half a minute; `make simulate` runs more."""


def test_nothing_goes_wrong() -> None:
    """Whatever happens in between, all rooms are whole again, and nothing was lost in silence."""
    # The interpreter's own -X dev is left out, which would take twice the time.
    command = [sys.executable, "-m", "tests.cluster", "--seeds", "0", str(SEEDS)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that does not tell a server of its own clients' departures does not pass."""
    broken = SCRIPT.replace(b"list[#list + 1] = me\n", b"")
    assert broken != SCRIPT
    monkeypatch.setattr("tests.cluster.network.SCRIPT", broken)
    assert simulate(0, "calm")


def test_a_seed_gives_the_same_history_again() -> None:
    """What happens is the same each time, so that a violation can be looked into."""
    first: list[str] = []
    second: list[str] = []
    assert simulate(5, "all", first.append) == simulate(5, "all", second.append)
    assert first == second
    assert len(first) > 100
