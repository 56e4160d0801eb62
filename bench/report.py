"""Medians over rounds, ratios to the first server, and how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
"""Summed over the rounds, as a median would hide a loss in one round of three."""

FIRST_FORMAT = 1


@dataclass
class Row:
    """One server in one case, all rounds together."""

    scenario: str
    case: str
    server: str
    unit: str
    rounds: int
    """Rounds that gave a measurement."""
    failures: list[str]
    """What became of the others."""
    median: dict[str, float] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)
    ratio: float | None = None
    """Main figure divided by that of the first server; None where one of the two has none."""
    saturated: bool = False
    """Whether the load generator was at its limit in any round."""
    notes: list[str] = field(default_factory=list)

    @property
    def main(self) -> float | None:
        """The figure that servers are compared by: less is better."""
        name = "kib_per_connection" if self.scenario == "idle" else "cpu_us_per_unit"
        return self.median.get(name)


def ratio(value: float | None, first: float | None) -> float | None:
    """Return `value / first`, None if either is missing or the first is not above zero."""
    if value is None or first is None or first <= 0:
        return None
    return value / first


def medians(samples: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure over the samples that have it."""
    names = dict.fromkeys(name for sample in samples for name in sample)
    return {name: median([s[name] for s in samples if name in s]) for name in names}


def rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """Return one row for each case and server, in the order in which they were first run."""
    groups: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.scenario, outcome.case, outcome.server), []).append(outcome)
    result = []
    first: dict[tuple[str, str], float | None] = {}
    for (scenario, case, server), group in groups.items():
        measured = [each.measurement for each in group if each.measurement is not None]
        row = Row(
            scenario,
            case,
            server,
            unit=measured[0].unit if measured else "",
            rounds=len(measured),
            failures=[each.status for each in group if each.status != OK],
            median=medians([each.figures() for each in measured]),
            total={name: sum(getattr(each, name) for each in measured) for name in _COUNTS},
            saturated=any(each.saturated for each in measured),
            notes=list(dict.fromkeys(note for each in measured for note in each.notes)),
        )
        # The first server of a case, even if it died, so that another never takes its place
        # unnoticed.
        row.ratio = ratio(row.main, first.setdefault((scenario, case), row.main))
        result.append(row)
    return _in_order(result)


def _in_order(found: list[Row]) -> list[Row]:
    """Put the servers of one case next to each other; they ran one server after another."""
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


def _status(row: Row) -> str:
    parts = []
    if row.failures:
        kinds = dict.fromkeys(row.failures)
        for kind in kinds:
            count = row.failures.count(kind)
            all_ = row.rounds + len(row.failures)
            parts.append(kind if count == all_ else f"{kind} in {count} of {all_} rounds")
    if row.saturated:
        parts.append("load generator saturated")
    for name, text in (
        ("out_of_order", "out of order"),
        ("duplicates", "delivered twice"),
        ("strays", "astray"),
        ("disconnects", "connections lost"),
        ("errors", "error replies"),
    ):
        if row.total[name]:
            parts.append(f"{row.total[name]:,} {text}")
    return "; ".join([*parts, *row.notes]) or OK


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a padded Markdown table; the first two columns and the last hold words."""
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    left = {0, 1, len(heads) - 1}

    def join(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * w) if i in left else ("-" * (w - 1) + ":") for i, w in enumerate(widths)]
    return "\n".join([join(heads), join(rule), *map(join, lines)])


def _cost_table(found: Sequence[Row]) -> str:
    unit = next((row.unit for row in found if row.unit), "unit")
    heads = ["case", "server", f"server CPU us/{unit}", "ratio", f"{unit}s/s", "server CPU %"]
    heads += ["p50 ms", "p99 ms", "lost", "load us", "load CPU %", "remarks"]
    lines = []
    for row in found:
        get = row.median.get
        # A paced load generator burns its core on purpose, whatever it sends.
        paced = "lag_p99_ms" in row.median
        lines.append(
            [
                row.case,
                row.server,
                _number(get("cpu_us_per_unit")),
                _number(row.ratio, 2),
                _number(get("units_per_s"), 0),
                _number(get("server_core_share"), 0, 100),
                _number(get("p50_ms"), 2),
                _number(get("p99_ms"), 2),
                _lost(row),
                "-" if paced else _number(get("load_cpu_us_per_unit")),
                "paced" if paced else _number(get("load_core_share"), 0, 100),
                _status(row),
            ]
        )
    return table(heads, lines)


def _memory_table(found: Sequence[Row]) -> str:
    heads = ["case", "server", "connections", "RSS MiB", "KiB/connection", "ratio"]
    heads += ["descriptors", "more than empty", "seconds", "remarks"]
    lines = []
    for row in found:
        get = row.median.get
        lines.append(
            [
                row.case,
                row.server,
                _number(get("connections"), 0),
                _number(get("rss_mib")),
                _number(get("kib_per_connection"), 2),
                _number(row.ratio, 2),
                _number(get("descriptors"), 0),
                _number(get("descriptors_left"), 0),
                _number(get("seconds")),
                _status(row),
            ]
        )
    return table(heads, lines)


def text(found: Sequence[Row]) -> str:
    """Return a table for each scenario, and below them what limits their worth."""
    parts = []
    for scenario in dict.fromkeys(row.scenario for row in found):
        mine = [row for row in found if row.scenario == scenario]
        build = _memory_table if scenario == "idle" else _cost_table
        parts.append(f"## {scenario}\n\n{build(mine)}")
    saturated = [f"{row.case} ({row.server})" for row in found if row.saturated]
    if saturated:
        parts.append(
            f"The load generator was at its limit in: {', '.join(saturated)}. Units per second and"
            " times are its own there, or partly so; the server's CPU time per unit is not."
        )
    return "\n\n".join(parts)


def to_json(
    about: dict[str, Any], found: Sequence[Row], outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    """Return the whole run: what it was, the table rows, and each round as it was measured."""
    return {
        "format": FIRST_FORMAT,
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
                "ratio": row.ratio,
                "load_saturated": row.saturated,
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
