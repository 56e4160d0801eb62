"""The picture: what a relayed message costs a server, against the idle rooms beside it."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]

from bench.runner import Outcome


def plot_rooms(outcomes: Sequence[Outcome], path: str, subtitle: str) -> None:
    """Write a PNG with a line for each server: medians, and bars over the range of its rounds."""
    from bench.report import rows

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.subplots()
    for server in dict.fromkeys(each.server for each in outcomes):
        mine = [each for each in outcomes if each.server == server and each.scenario == "rooms"]
        points = [row for row in rows(mine) if row.main is not None]
        if not points:
            continue
        xs = [row.median["idle_rooms"] for row in points]
        ys = [row.main or 0.0 for row in points]
        below, above = [], []
        for row, middle in zip(points, ys, strict=True):
            costs = [
                each.measurement.figures()["cpu_us_per_unit"]
                for each in mine
                if each.case == row.case and each.measurement and each.measurement.units
            ]
            below.append(middle - min(costs))
            above.append(max(costs) - middle)
        axes.errorbar(xs, ys, yerr=[below, above], marker="o", capsize=3, label=server)
    axes.set_xlabel("idle rooms")
    axes.set_ylabel("server CPU per relayed message (µs)")
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.suptitle("What a relayed message costs beside idle rooms")
    axes.set_title(subtitle, fontsize="small")
    if axes.has_data():
        axes.legend()
    figure.savefig(path)
