"""Computes medians over rounds and ratios to the baseline, and shows them in tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from bench.runner import OK, Outcome

_COUNTS = (
    "sent",
    "arrived",
    "lost",
    "out_of_order",
    "duplicates",
    "strays",
    "disconnects",
    "errors",
)
"""Counts that are summed over the rounds: a median would hide a loss in one round of three."""

FORMAT = 2
"""The version of the JSON. In version 1, ratios were to the first server."""


@dataclass(frozen=True)
class Ratio:
    """One figure divided by another, round by round."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.median:.2f}"
        return f"{self.median:.2f} ({self.least:.2f}–{self.most:.2f})"


def ratio(values: Mapping[int, float], base: Mapping[int, float]) -> Ratio | None:
    """Divide `values` by `base`, both by round; return None if no round has both.

    Whatever slows the machine for a while slows both figures of a round. So their ratio varies less
    than they do.
    """
    found = [values[n] / base[n] for n in values if base.get(n, 0.0) > 0]
    return Ratio(median(found), min(found), max(found)) if found else None


@dataclass
class Row:
    """The results of one server in one case, over all rounds."""

    scenario: str
    case: str
    server: str
    unit: str
    rounds: int
    """Rounds that gave a measurement."""
    failures: list[str]
    """Why the other rounds gave none."""
    median: dict[str, float] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)
    by_round: dict[int, float] = field(default_factory=dict)
    """The figure by which servers are compared, by round. Less is better."""
    ratio: Ratio | None = None
    """That figure divided by the baseline's; None if no round has both."""
    saturated: int = 0
    """Rounds in which the load generator was at its limit."""
    notes: list[str] = field(default_factory=list)

    @property
    def main(self) -> float | None:
        """The median of the figure by which servers are compared."""
        return self.median.get(_compared(self.scenario))


def _compared(scenario: str) -> str:
    return "kib_per_connection" if scenario == "idle" else "cpu_us_per_unit"


def medians(samples: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure over the samples that have it."""
    names = dict.fromkeys(name for sample in samples for name in sample)
    return {name: median([s[name] for s in samples if name in s]) for name in names}


def rows(outcomes: Sequence[Outcome], baseline: str) -> list[Row]:
    """Return one row for each case and server, with ratios to the server named `baseline`."""
    groups: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.scenario, outcome.case, outcome.server), []).append(outcome)
    found: dict[tuple[str, str, str], Row] = {}
    for (scenario, case, server), group in groups.items():
        by_round = {each.round: each.measurement for each in group if each.measurement is not None}
        measured = list(by_round.values())
        figures = {number: each.figures() for number, each in by_round.items()}
        compared = _compared(scenario)
        found[scenario, case, server] = Row(
            scenario,
            case,
            server,
            unit=measured[0].unit if measured else "",
            rounds=len(measured),
            failures=[each.status for each in group if each.status != OK],
            median=medians(list(figures.values())),
            total={name: sum(getattr(each, name) for each in measured) for name in _COUNTS},
            by_round={n: each[compared] for n, each in figures.items() if compared in each},
            saturated=sum(each.saturated for each in measured),
            notes=list(dict.fromkeys(note for each in measured for note in each.notes)),
        )
    for row in found.values():
        base = found.get((row.scenario, row.case, baseline))
        row.ratio = ratio(row.by_round, base.by_round) if base else None
    return _in_order(list(found.values()))


def _in_order(found: list[Row]) -> list[Row]:
    """Put the rows of one case next to each other, since the servers ran one after another."""
    cases = list(dict.fromkeys((row.scenario, row.case) for row in found))
    return sorted(found, key=lambda row: cases.index((row.scenario, row.case)))


# Tables ------------------------------------------------------------------------------------------


def _number(value: float | None, digits: int = 1, factor: float = 1) -> str:
    return "-" if value is None else f"{value * factor:,.{digits}f}"


def _lost(row: Row) -> str:
    sent, lost = row.total["sent"], row.total["lost"]
    if not sent:
        return "-"
    return f"{lost:,} of {sent:,}" + (f" ({lost / sent:.1%})" if lost else "")


def _ordered(row: Row) -> str:
    if not row.total["arrived"]:
        return "-"
    wrong = row.total["out_of_order"]
    return f"{wrong:,} not" if wrong else "yes"


def _in_rounds(text: str, count: int, row: Row) -> str:
    total = row.rounds + len(row.failures)
    return text if count == total else f"{text} in {count} of {total} rounds"


def _status(row: Row) -> str:
    kinds = dict.fromkeys(row.failures)
    parts = [_in_rounds(kind, row.failures.count(kind), row) for kind in kinds]
    if row.saturated:
        paced = "on_time_share" in row.median
        text = "load generator late, not timed" if paced else "load generator saturated"
        parts.append(_in_rounds(text, row.saturated, row))
    for name, text in (
        ("duplicates", "delivered twice"),
        ("strays", "astray"),
        ("disconnects", "connections lost"),
        ("errors", "error replies"),
    ):
        if row.total[name]:
            parts.append(f"{row.total[name]:,} {text}")
    return "; ".join([*parts, *row.notes]) or OK


def table(heads: Sequence[str], lines: Sequence[Sequence[str]], words: Sequence[int]) -> str:
    """Return a padded Markdown table. The columns numbered in `words` are aligned to the left."""
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    left = {range(len(heads))[i] for i in words}

    def join(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * w) if i in left else ("-" * (w - 1) + ":") for i, w in enumerate(widths)]
    return "\n".join([join(heads), join(rule), *map(join, lines)])


Column = tuple[str, Callable[[Row], str]]
"""The head of a column, and a function that returns a row's cell in it."""


def _figure(head: str, name: str, digits: int = 1, factor: float = 1) -> Column:
    return head, lambda row: _number(row.median.get(name), digits, factor)


_NAMES: list[Column] = [("case", lambda row: row.case), ("server", lambda row: row.server)]
_RATIO: Column = ("ratio", lambda row: _number(row.ratio.median if row.ratio else None, 2))
_MESSAGES: list[Column] = [("lost", _lost), ("in order", _ordered)]
_TIMES = [_figure("p50 ms", "p50_ms", 2), _figure("p99 ms", "p99_ms", 2)]
_REMARKS: Column = ("remarks", _status)


def _cost(unit: str) -> list[Column]:
    return [
        _figure(f"server CPU us/{unit}", "cpu_us_per_unit"),
        _RATIO,
        _figure(f"{unit}s/s", "units_per_s", 0),
        _figure("server CPU %", "server_core_share", 0, 100),
        *_TIMES,
    ]


def _extra_columns(unit: str, found: Sequence[Row]) -> list[Column]:
    """Return the columns of figures that only servers with a Redis have."""
    columns = {
        "redis_us_per_unit": _figure(f"Redis us/{unit}", "redis_us_per_unit"),
        "redis_mib": _figure("Redis MiB", "redis_mib"),
        "idle_core_share": _figure("server CPU %", "idle_core_share", 1, 100),
        "redis_core_share": _figure("Redis CPU %", "redis_core_share", 1, 100),
    }
    return [column for name, column in columns.items() if any(name in row.median for row in found)]


def _columns(scenario: str, unit: str, found: Sequence[Row]) -> list[Column]:
    if scenario == "idle":
        middle = [
            _figure("connections", "connections", 0),
            _figure("RSS MiB", "rss_mib"),
            _figure("KiB/connection", "kib_per_connection", 2),
            _RATIO,
            _figure("descriptors", "descriptors", 0),
            _figure("more than empty", "descriptors_left", 0),
            _figure("seconds", "seconds"),
        ]
    elif scenario == "latency":
        # The load generator's share is left out, as it keeps its core busy on purpose.
        middle = [
            *_cost(unit),
            _figure("late p99 ms", "lag_p99_ms", 2),
            _figure("on time %", "on_time_share", 0, 100),
            *_MESSAGES,
        ]
    else:
        middle = [
            *_cost(unit),
            *(_MESSAGES if unit == "message" else []),
            _figure("load us", "load_cpu_us_per_unit"),
            _figure("load CPU %", "load_core_share", 0, 100),
        ]
    return [*_NAMES, *middle, *_extra_columns(unit, found), _REMARKS]


def _scenario(found: Sequence[Row]) -> str:
    unit = next((row.unit for row in found if row.unit), "message")
    columns = _columns(found[0].scenario, unit, found)
    lines = [[cell(row) for _, cell in columns] for row in found]
    return table([head for head, _ in columns], lines, (0, 1, -1))


def _ratios(found: Sequence[Row], servers: Sequence[str]) -> str:
    lines = []
    for case, unit in {row.case: row.unit for row in found if row.unit}.items():
        mine = {row.server: row for row in found if row.case == case}
        measure = "memory" if mine[servers[0]].scenario == "idle" else "server CPU"
        cells = [str(mine[server].ratio or "-") for server in servers]
        lines.append([case, f"{measure} per {unit}", *cells])
    return table(["case", "measure", *servers], lines, (0, 1))


def growth(found: Sequence[Row]) -> dict[str, Ratio]:
    """Return, by server, the cost of a message beside the most idle rooms divided by the fewest."""
    result = {}
    for server in dict.fromkeys(row.server for row in found):
        steps = [r for r in found if (r.server, r.scenario) == (server, "rooms") and r.by_round]
        each = ratio(steps[-1].by_round, steps[0].by_round) if len(steps) > 1 else None
        if each is not None:
            result[server] = each
    return result


def summary(found: Sequence[Row], baseline: str) -> str:
    """Return the ratios of all cases in one table, with their range over the rounds."""
    parts = []
    servers = list(dict.fromkeys(row.server for row in found))
    if len(servers) > 1:
        parts.append(
            f"Each server's cost divided by that of `{baseline}` in the same round: the median of"
            " the rounds, and in brackets the least and the most. Less is better.\n\n"
            + _ratios(found, servers)
        )
    if grown := growth(found):
        cases = [row.case for row in found if row.scenario == "rooms" and row.by_round]
        each = ", ".join(f"{server} {value}" for server, value in grown.items())
        parts.append(f"`{cases[-1]}` divided by `{cases[0]}` of the same server: {each}.")
    return "\n\n".join(["### ratios", *parts]) if parts else ""


def text(found: Sequence[Row], baseline: str) -> str:
    """Return the ratios, a table for each scenario, and a warning of figures that are limited."""
    parts = [summary(found, baseline)]
    for scenario in dict.fromkeys(row.scenario for row in found):
        mine = [row for row in found if row.scenario == scenario]
        parts.append(f"### {scenario}\n\n{_scenario(mine)}")
    saturated = [
        f"{row.case} ({row.server})"
        for row in found
        if row.saturated and "on_time_share" not in row.median
    ]
    if saturated:
        parts.append(
            f"The load generator was at its limit in: {', '.join(saturated)}. Units per second and"
            " times are its own there, or partly so; the server's CPU time per unit is not."
        )
    return "\n\n".join(filter(None, parts))


def to_json(
    about: dict[str, Any], found: Sequence[Row], outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    """Return the whole run: its description, the rows of the tables, and each measured round."""
    return {
        "format": FORMAT,
        **about,
        "results": [
            {
                "scenario": row.scenario,
                "case": row.case,
                "server": row.server,
                "unit": row.unit,
                "rounds": row.rounds,
                "failures": row.failures,
                "median": row.median,
                "total": row.total,
                "ratio": row.ratio and asdict(row.ratio),
                "load_saturated_rounds": row.saturated,
                "notes": row.notes,
            }
            for row in found
        ],
        "rounds": [
            {
                "scenario": each.scenario,
                "case": each.case,
                "server": each.server,
                "round": each.round,
                "status": each.status,
                "measurement": each.measurement and each.measurement.to_json(),
            }
            for each in outcomes
        ],
    }
