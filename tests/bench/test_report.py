"""Medians, ratios and tables."""

import pytest

from bench import report
from bench.measure import Measurement
from bench.runner import OK, Outcome


def outcome(server: str, round_: int, cpu_s: float, *, lost: int = 0) -> Outcome:
    """A round of 1,000 messages that cost a server `cpu_s` seconds."""
    measurement = Measurement(
        "relay",
        units=1000,
        wall_s=1.0,
        server_cpu_s=cpu_s,
        load_cpu_s=0.1,
        sent=1000,
        arrived=1000 - lost,
    )
    return Outcome(server, "relay", "relay", round_, OK, measurement)


def death(server: str, round_: int) -> Outcome:
    return Outcome(server, "relay", "relay", round_, "died (exit 2)")


def test_the_median_is_taken_of_each_figure_by_itself() -> None:
    samples = [{"a": 1.0, "b": 9.0}, {"a": 5.0, "b": 7.0}, {"a": 3.0}]
    assert report.medians(samples) == {"a": 3.0, "b": 8.0}


@pytest.mark.parametrize(
    ("value", "first", "expected"),
    [(3.0, 2.0, 1.5), (None, 2.0, None), (3.0, None, None), (3.0, 0.0, None), (3.0, -1.0, None)],
)
def test_a_ratio_needs_two_figures(
    value: float | None, first: float | None, expected: float | None
) -> None:
    assert report.ratio(value, first) == expected


def test_servers_are_compared_with_the_first_by_their_medians() -> None:
    outcomes = [outcome(s, r, c) for r, s, c in [(1, "A", 0.010), (1, "B", 0.030)]]
    outcomes += [outcome("A", 2, 0.020), outcome("B", 2, 0.090)]
    outcomes += [outcome("A", 3, 0.900), outcome("B", 3, 0.060)]
    first, second = report.rows(outcomes)
    assert (first.server, second.server) == ("A", "B")
    assert first.main == pytest.approx(20)
    assert second.main == pytest.approx(60)
    assert first.ratio == 1
    assert second.ratio == pytest.approx(3)


def test_losses_are_added_up_so_that_none_hides_behind_a_median() -> None:
    (row,) = report.rows([outcome("A", 1, 0.1), outcome("A", 2, 0.1, lost=5), outcome("A", 3, 0.1)])
    assert row.total["lost"] == 5
    assert row.total["sent"] == 3000
    assert "5 of 3,000 (0.2%)" in report.text([row])


def test_a_server_that_died_is_shown_as_such_and_the_others_go_on() -> None:
    found = report.rows([death("A", 1), outcome("B", 1, 0.1), outcome("A", 2, 0.1)])
    first, second = found
    assert first.failures == ["died (exit 2)"]
    assert second.ratio == pytest.approx(1)
    text = report.text(found)
    assert "died (exit 2) in 1 of 2 rounds" in text


def test_without_figures_of_the_first_server_there_is_no_ratio() -> None:
    first, second = report.rows([death("A", 1), outcome("B", 1, 0.1)])
    assert first.main is None
    assert second.ratio is None
    assert "| died (exit 2) |" in report.text([first, second])


def test_a_saturated_load_generator_is_named_below_the_tables() -> None:
    busy = outcome("A", 1, 0.1)
    assert busy.measurement is not None
    busy.measurement.load_cpu_s = 0.95
    text = report.text(report.rows([busy]))
    assert "at its limit in: relay (A)" in text


def test_columns_of_a_table_line_up() -> None:
    lines = report.table(["case", "server", "n", "remarks"], [["a", "b", "1,000", "ok"]])
    assert len({len(line) for line in lines.splitlines()}) == 1
