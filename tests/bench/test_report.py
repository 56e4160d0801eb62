"""Medians, ratios and tables."""

from dataclasses import replace

import pytest

from bench import report
from bench.measure import Measurement
from bench.runner import OK, Outcome


def outcome(server: str, round_: int, cpu_s: float, *, lost: int = 0) -> Outcome:
    """Return a round of 1,000 messages that cost a server `cpu_s` seconds."""
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


def test_a_ratio_is_taken_round_by_round() -> None:
    """The second round was slow for both."""
    found = report.ratio({1: 2.0, 2: 20.0, 3: 3.0}, {1: 10.0, 2: 100.0, 3: 10.0})
    assert found == report.Ratio(median=0.2, least=0.2, most=0.3)
    assert str(found) == "0.20 (0.20–0.30)"


@pytest.mark.parametrize("base", [{}, {2: 1.0}, {1: 0.0}, {1: -1.0}])
def test_a_ratio_needs_a_round_with_both_figures(base: dict[int, float]) -> None:
    assert report.ratio({1: 3.0}, base) is None


def three_rounds() -> list[Outcome]:
    """Return rounds of A and B in which A costs 0.5, 0.25 and 0.1 of B."""
    costs = [("A", 0.010), ("B", 0.020)], [("A", 0.020), ("B", 0.080)], [("A", 0.009), ("B", 0.090)]
    return [outcome(s, n, c) for n, both in enumerate(costs, 1) for s, c in both]


def test_servers_are_compared_with_the_baseline_wherever_that_stands() -> None:
    first, second = report.rows(three_rounds(), "B")
    assert (first.server, second.server) == ("A", "B")
    assert first.main == pytest.approx(10)
    assert second.main == pytest.approx(80)
    assert str(first.ratio) == "0.25 (0.10–0.50)"
    assert second.ratio == report.Ratio(1, 1, 1)
    first, second = report.rows(three_rounds(), "A")
    assert first.ratio == report.Ratio(1, 1, 1)
    assert str(second.ratio) == "4.00 (2.00–10.00)"


def test_the_report_begins_with_all_ratios_and_their_range() -> None:
    text = report.text(report.rows(three_rounds(), "B"), "B")
    assert text.startswith("### ratios\n")
    assert "| case  | measure                |                A |    B |" in text
    assert "| relay | server CPU per message | 0.25 (0.10–0.50) | 1.00 |" in text


def test_one_server_alone_has_no_table_of_ratios() -> None:
    assert report.text(report.rows([outcome("A", 1, 0.1)], "A"), "A").startswith("### relay\n")


def test_the_growth_with_idle_rooms_is_said_of_each_server() -> None:
    steps = [("rooms/0", 1, 0.1), ("rooms/9", 1, 0.11), ("rooms/0", 2, 0.2), ("rooms/9", 2, 0.2)]
    outcomes = []
    for case, round_, cost in steps:
        each = outcome("A", round_, cost)
        outcomes.append(replace(each, scenario="rooms", case=case))
    text = report.summary(report.rows(outcomes, "A"), "A")
    assert "`rooms/9` divided by `rooms/0` of the same server: A 1.05 (1.00–1.10)." in text


def latency(round_: int, on_time_share: float, p50_ms: float) -> Outcome:
    each = outcome("A", round_, 0.1)
    assert each.measurement is not None
    each.measurement.p50_ms = each.measurement.p99_ms = p50_ms
    each.measurement.extra["on_time_share"] = on_time_share
    return replace(each, scenario="latency", case="latency")


def test_a_late_round_is_not_timed_and_this_is_said() -> None:
    outcomes = [latency(1, 0.9, 1.0), latency(2, 0.1, 99.0), latency(3, 0.8, 3.0)]
    (row,) = report.rows(outcomes, "A")
    assert row.median["p50_ms"] == 2.0
    assert "load generator late, not timed in 1 of 3 rounds" in report.text([row], "A")


def test_messages_out_of_order_are_counted_beside_the_lost() -> None:
    good, bad = outcome("A", 1, 0.1), outcome("B", 1, 0.1)
    assert bad.measurement is not None
    bad.measurement.out_of_order = 1234
    _, _, *lines = (
        report.text(report.rows([good, bad], "B"), "B").partition("### relay")[2].split("\n")
    )
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    column = cells[0].index("in order")
    assert [line[column] for line in cells[2:]] == ["yes", "1,234 not"]


def test_losses_are_added_up_so_that_none_hides_behind_a_median() -> None:
    (row,) = report.rows([outcome("A", n, 0.1, lost=lost) for n, lost in enumerate((0, 5, 0))], "A")
    assert row.total["lost"] == 5
    assert row.total["sent"] == 3000
    assert "5 of 3,000 (0.2%)" in report.text([row], "A")


def test_a_server_that_died_is_shown_as_such_and_the_others_go_on() -> None:
    found = report.rows([death("A", 1), outcome("B", 1, 0.1), outcome("A", 2, 0.1)], "B")
    first, second = found
    assert first.failures == ["died (exit 2)"]
    assert second.ratio == report.Ratio(1, 1, 1)
    text = report.text(found, "B")
    assert "died (exit 2) in 1 of 2 rounds" in text


def test_without_figures_of_the_baseline_there_is_no_ratio() -> None:
    first, second = report.rows([outcome("A", 1, 0.1), death("B", 1)], "B")
    assert second.main is None
    assert first.ratio is None
    text = report.text([first, second], "B")
    assert "| died (exit 2) |" in text
    assert "| relay | server CPU per message | - | - |" in text


def test_a_saturated_load_generator_is_named_below_the_tables() -> None:
    busy = outcome("A", 1, 0.1)
    assert busy.measurement is not None
    busy.measurement.load_cpu_s = 0.95
    text = report.text(report.rows([busy], "A"), "A")
    assert "at its limit in: relay (A)" in text


def test_columns_of_a_table_line_up() -> None:
    heads = ["case", "server", "n", "remarks"]
    lines = report.table(heads, [["a", "b", "1,000", "ok"]], (0, 1, -1)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| ---- | ------ | ----: | ------- |"
