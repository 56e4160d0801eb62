"""Numbers are read as Go reads them: the values are those of its packages strconv and time."""

import pytest

from config.numbers import parse_duration, parse_float, parse_int

SYNTAX = "parse error"
RANGE = "value out of range"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("5000", 5000),
        ("+5", 5),
        ("-5", -5),
        ("-0", 0),
        ("0005", 5),
        ("9223372036854775807", (1 << 63) - 1),
        ("-9223372036854775808", -(1 << 63)),
        ("9223372036854775808", RANGE),
        ("9" * 1000, RANGE),
        *((text, SYNTAX) for text in ["", " 5", "5 ", "5\n", "\t5", "+", "-", "--5", "+-5"]),
        *((text, SYNTAX) for text in ["5_0", "0x10", "0b1", "5e1", "5.0", "0.0", "1,000"]),
        *((text, SYNTAX) for text in ["٣", "５", "²", "true", "None", "5\0", "\udcff"]),
    ],
)
def test_a_number_of_the_environment_is_in_decimal(text: str, number: int | str) -> None:
    """It is read as by `strconv.Atoi`."""
    check(text, number, base=10)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("5000", 5000),
        ("+5", 5),
        ("-5", -5),
        ("0x1F", 31),
        ("-0X1f", -31),
        ("0o17", 15),
        ("017", 15),
        ("0_17", 15),
        ("00", 0),
        ("0b101", 5),
        ("5_000", 5000),
        ("0x_1_f", 31),
        ("0xffffffffffffffff", RANGE),
        ("9" * 1000, RANGE),
        *((text, SYNTAX) for text in ["", " 5", "5 ", "5\n", "_5", "5_", "5__0", "0_", "0x"]),
        *((text, SYNTAX) for text in ["0x_", "08", "0_8", "0b2", "0o8", "1f", "0xg", "00x1"]),
        *((text, SYNTAX) for text in ["5e1", "5.0", "٣", "0x٣", "0x-1", "- 5", "true", "0x1p3"]),
    ],
)
def test_a_number_of_a_flag_is_a_literal_of_go(text: str, number: int | str) -> None:
    """It is read as by `strconv.ParseInt` with base 0, which package flag uses."""
    check(text, number, base=0)


def check(text: str, number: int | str, base: int) -> None:
    if isinstance(number, int):
        assert parse_int(text, base) == number
    else:
        with pytest.raises(ValueError, match=f"^{number}$"):
            parse_int(text, base)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10", 10.0),
        ("+0.5", 0.5),
        ("-0.5", -0.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e2", 100.0),
        ("1.5E-1", 0.15),
        ("010", 10.0),
    ],
)
def test_a_number_of_seconds_may_have_a_fraction(text: str, number: float) -> None:
    """It is read as by `strconv.ParseFloat`."""
    assert parse_float(text) == number


@pytest.mark.parametrize(
    "text",
    ["", ".", "e1", "1e", " 1", "1\n", "1_0", "1,5", "1s", "nan", "inf", "Infinity", "٣", "0x10"],
)
def test_what_is_no_decimal_number_of_seconds_is_refused(text: str) -> None:
    """Go would read `nan` and `inf`, but no time can be either."""
    with pytest.raises(ValueError, match=SYNTAX):
        parse_float(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h", 3600.0),
        ("90m", 5400.0),
        ("1h30m", 5400.0),
        ("1h0m0s", 3600.0),
        ("30m1h", 5400.0),
        ("1.5h", 5400.0),
        (".5m", 30.0),
        ("1.s", 1.0),
        ("+1s", 1.0),
        ("-1m1s", -61.0),
        ("250ms", 0.25),
        ("1us", 1e-6),
        ("1µs", 1e-6),
        ("1μs", 1e-6),
        ("1ns", 1e-9),
        ("0", 0.0),
        ("-0", 0.0),
        ("0s", 0.0),
        ("2562047h47m", 9223372020.0),
    ],
)
def test_a_duration_has_units(text: str, seconds: float) -> None:
    """It is read as by `time.ParseDuration`, whose value is in nanoseconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1 h", " 1h", "1h ", "1h\n", "h", ".s", "1d", "1H", "1e3s", "1_0s", "--1s"),
        *("1h-1m", "1,5h", "٣s", "00", "1h0", "infs", "2562048h", "9" * 400 + "s", "1:30"),
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=SYNTAX):
        parse_duration(text)
