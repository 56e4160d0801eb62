"""Counts, percentiles and the figures of a window."""

import pytest

from bench.frames import STREAM_SPAN
from bench.measure import Ledger, Measurement, Punctuality, Stream, percentile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([3.0], 0.99, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 101)], 1.0, 100.0),
    ],
)
def test_percentiles_are_values_that_occurred(
    values: list[float], share: float, expected: float | None
) -> None:
    assert percentile(values, share) == expected


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def counts(ledger: Ledger) -> tuple[int, int, int, int, int]:
    return ledger.arrived, ledger.lost, ledger.out_of_order, ledger.duplicates, ledger.strays


def test_what_arrives_in_order_is_not_lost(ledger: Ledger) -> None:
    stream = Stream(ledger, 3)
    numbers = [stream.send() for _ in range(5)]
    assert numbers[0] == 3 * STREAM_SPAN
    assert all(stream.arrive(number) for number in numbers)
    assert counts(ledger) == (5, 0, 0, 0, 0)


def test_a_gap_and_a_missing_end_are_lost(ledger: Ledger) -> None:
    stream = Stream(ledger, 0)
    numbers = [stream.send() for _ in range(10)]
    for number in numbers[:3] + numbers[5:8]:
        assert stream.arrive(number)
    assert counts(ledger) == (6, 4, 0, 0, 0)


def test_what_comes_after_its_successor_is_out_of_order_and_not_lost(ledger: Ledger) -> None:
    stream = Stream(ledger, 0)
    first, second, third = (stream.send() for _ in range(3))
    assert [stream.arrive(number) for number in (third, first, second)] == [True, True, True]
    assert counts(ledger) == (3, 0, 2, 0, 0)


def test_what_comes_twice_counts_once(ledger: Ledger) -> None:
    stream = Stream(ledger, 0)
    first, second = stream.send(), stream.send()
    arrivals = [stream.arrive(number) for number in (first, first, second, first)]
    assert arrivals == [True, False, True, False]
    assert counts(ledger) == (2, 0, 0, 2, 0)


def test_what_was_sent_to_another_or_by_nobody_is_astray(ledger: Ledger) -> None:
    stream, other = Stream(ledger, 0), Stream(ledger, 1)
    assert not stream.arrive(other.send())
    assert not stream.arrive(0)
    assert counts(ledger) == (0, 1, 0, 0, 2)


def test_a_measurement_takes_over_what_was_counted(ledger: Ledger) -> None:
    stream = Stream(ledger, 0)
    stream.arrive(stream.send())
    stream.send()
    ledger.latencies.extend([0.001, 0.002, 0.004])
    measurement = Measurement("case")
    measurement.count(ledger)
    assert (measurement.sent, measurement.arrived, measurement.lost) == (2, 1, 1)
    assert (measurement.p50_ms, measurement.p99_ms) == (2.0, 4.0)


def test_figures_are_per_unit_and_per_second() -> None:
    measurement = Measurement("case", units=1000, wall_s=2.0, server_cpu_s=0.5, load_cpu_s=0.25)
    assert measurement.figures() == {
        "cpu_us_per_unit": 500.0,
        "load_cpu_us_per_unit": 250.0,
        "units_per_s": 500.0,
        "server_core_share": 0.25,
        "load_core_share": 0.125,
    }


def test_a_window_in_which_nothing_arrived_has_no_cost_per_unit() -> None:
    assert "cpu_us_per_unit" not in Measurement("case", units=0, wall_s=1.0).figures()


@pytest.mark.parametrize(("load_cpu_s", "expected"), [(1.7, False), (1.9, True)])
def test_the_load_generator_is_saturated_beyond_ninety_percent(
    load_cpu_s: float, expected: bool
) -> None:
    measurement = Measurement("case", units=1, wall_s=2.0, load_cpu_s=load_cpu_s)
    assert measurement.saturated is expected


def paced(on_time_share: float) -> Measurement:
    return Measurement(
        "case",
        units=1,
        wall_s=2.0,
        load_cpu_s=2.0,
        p50_ms=1.0,
        p99_ms=2.0,
        extra={"on_time_share": on_time_share},
    )


def test_a_paced_load_generator_is_busy_on_purpose() -> None:
    assert paced(1.0).load_share is None


def test_times_of_a_late_load_generator_are_left_out_and_the_cost_is_not() -> None:
    assert not paced(0.5).saturated
    assert paced(0.5).figures()["p99_ms"] == 2.0
    assert paced(0.4).saturated
    assert "p50_ms" not in paced(0.4).figures()
    assert "p99_ms" not in paced(0.4).figures()
    assert "cpu_us_per_unit" in paced(0.4).figures()


def test_a_window_is_on_time_in_slices_of_a_tenth_of_a_second() -> None:
    """A late message spoils the times of its own slice and of no other."""
    lags = [(n / 1000, 0.0001) for n in range(300)]
    lags[150:160] = [(due, 0.004) for due, _ in lags[150:160]]
    punctuality = Punctuality.of(lags, 0.3)
    assert punctuality.on_time == {0, 2}
    assert punctuality.share == pytest.approx(2 / 3)
    assert punctuality.keep([(0.05, 1.0), (0.12, 2.0), (0.25, 3.0)]) == [1.0, 3.0]


def test_one_late_message_in_a_hundred_does_not_spoil_a_slice() -> None:
    lags = [(n / 1000, 0.0) for n in range(99)]
    assert Punctuality.of([*lags, (0.0995, 1.0)], 0.1).share == 1


def test_a_slice_that_was_never_sent_is_late() -> None:
    assert Punctuality.of([(0.05, 0.0)], 0.2).share == 0.5
    assert Punctuality.of([], 0.2).share == 0


def test_a_measurement_survives_json() -> None:
    measurement = Measurement("case", units=3, extra={"rss_mib": 1.5}, notes=["note"])
    assert Measurement(**measurement.to_json()) == measurement
