"""Random histories of servers that share their rooms, at the end of which all must be well."""

import pytest

from services.redis_bus import SCRIPT
from tests.cluster.faults import PROFILES
from tests.cluster.simulation import profile_of, repeat, simulate

SEEDS = 200
"""As many as take half a minute; `make simulate` runs more."""


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_goes_wrong(profile: str) -> None:
    """Whatever happens in between, all rooms are whole again, and nothing was lost in silence."""
    violations = []
    for seed in range(SEEDS):
        if profile_of(seed) == profile:
            violations += [(repeat(seed, profile), what) for what in simulate(seed, profile)]
    assert not violations


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
