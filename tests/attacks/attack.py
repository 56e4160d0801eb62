"""What an attack is."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from tests.attacks.clients import Target
from tests.support.server_process import NO_VARIABLES

Run = Callable[[Target], Awaitable[None]]

MIB = 1 << 20

RELAY = 20.0
"""Milliseconds: two dear messages of somebody else, of which none can be interrupted."""

NEWCOMER = 100.0
"""Milliseconds: four times there and back, where an offer goes only there."""


@dataclass(frozen=True)
class Attack:
    """An attack, and in which circumstances it is made."""

    run: Run
    """Prepares, awaits `Target.begin`, and attacks until it is cancelled or done."""
    quick: bool
    """Whether it is among those that `make test` runs too."""
    env: Mapping[str, str]
    """Settings of the server."""
    files: int | None
    """Files that the server may have open; None for as many as the system allows."""
    growth: int | None
    """MiB by which the server may grow while it is attacked; None if it is not looked at."""
    relay: float
    """Milliseconds of CPU time within which 99 % of the offers must arrive."""
    newcomer: float
    """Milliseconds of CPU time within which half of the newcomers must be in their room."""
    load: float | None
    """The part of a core that the server may use while it is attacked; None if it is not looked at.
    It is for attacks by one client: a thousand may use all of the time that nobody else wants."""
    echoes: bool
    """Whether the attacker has messages of its own come back, which must be in order."""
    dropped: bool
    """Whether the server must end every connection of the attacker while it is attacked."""

    @property
    def name(self) -> str:
        return self.run.__name__.replace("_", "-")

    @property
    def what(self) -> str:
        """What it does, from the first line of its docstring."""
        return (self.run.__doc__ or "").splitlines()[0]


def attack(
    *,
    quick: bool = False,
    env: Mapping[str, str] = NO_VARIABLES,
    files: int | None = None,
    growth: int | None = None,
    relay: float = RELAY,
    newcomer: float = NEWCOMER,
    load: float | None = None,
    echoes: bool = True,
    dropped: bool = False,
) -> Callable[[Run], Attack]:
    """Make an attack of a function. The arguments are described at `Attack`."""

    def make(run: Run) -> Attack:
        return Attack(run, quick, env, files, growth, relay, newcomer, load, echoes, dropped)

    return make
