"""Draws what a relayed message costs a server against the number of idle rooms."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]

from bench.report import Row


def plot_rooms(found: Sequence[Row], path: str, subtitle: str) -> None:
    """Write a PNG with a line of medians for each server, and bars for the range of its rounds."""
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.subplots()
    for server in dict.fromkeys(row.server for row in found):
        points = [r for r in found if (r.server, r.scenario) == (server, "rooms") and r.by_round]
        if not points:
            continue
        xs = [row.median["idle_rooms"] for row in points]
        ys = [row.main or 0.0 for row in points]
        below = [y - min(row.by_round.values()) for row, y in zip(points, ys, strict=True)]
        above = [max(row.by_round.values()) - y for row, y in zip(points, ys, strict=True)]
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
