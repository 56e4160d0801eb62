"""Numbers as Go reads them (packages strconv, time), which is stricter than `int` and `float`."""

import re

# ASCII digits only: `int` and `float` would take those of any script, and white space around them.
DECIMAL = re.compile(r"[+-]?[0-9]+")
LITERAL = re.compile(r"[+-]?[0-9][0-9A-Za-z_]*")
LEADING_ZERO = re.compile(r"[+-]?0[0-9_]")
FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[Ee][+-]?[0-9]+)?")
PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
DURATION = re.compile(rf"[+-]?(?:0|(?:{PART.pattern})+)")

SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,  # U+00B5 = micro sign
    "μs": 1e-6,  # U+03BC = Greek letter mu
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
"""The units of a duration, in seconds."""


def parse_int(text: str, base: int = 10) -> int:
    """Read an integer of 64 bits (`strconv.ParseInt`); with base 0, an integer literal of Go.

    Raises ValueError with the words of package flag: `parse error` or `value out of range`.
    """
    if not (LITERAL if base == 0 else DECIMAL).fullmatch(text):
        raise ValueError("parse error")
    if base == 0 and LEADING_ZERO.match(text):
        base = 8  # 010 is eight, as it is in C; Python takes only 0o10 for it.
    try:
        value = int(text, base)
    except ValueError:  # A digit or an underscore that cannot be there.
        raise ValueError("parse error") from None
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError("value out of range")
    return value


def parse_float(text: str) -> float:
    """Read a decimal number (`strconv.ParseFloat`, without `inf`, `nan` and hexadecimals).

    Raises ValueError.
    """
    if not FLOAT.fullmatch(text):
        raise ValueError("parse error")
    return float(text)


def parse_duration(text: str) -> float:
    """Read a duration such as 1h30m (`time.ParseDuration`) and return it in seconds.

    Raises ValueError with the words of package flag: `parse error`.
    """
    if not DURATION.fullmatch(text):
        raise ValueError("parse error")
    seconds = sum(float(number) * SECONDS[unit] for number, unit in PART.findall(text))
    if seconds * 1e9 >= 1 << 63:
        raise ValueError("parse error")
    return -seconds if text.startswith("-") else seconds
