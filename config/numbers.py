"""Numbers as Go reads them (package strconv), which is stricter than Python's `int` and `float`."""

import re

# ASCII digits only: `int` and `float` would take those of any script, and white space around them.
DECIMAL = re.compile(r"[+-]?[0-9]+")
LITERAL = re.compile(r"[+-]?[0-9][0-9A-Za-z_]*")
LEADING_ZERO = re.compile(r"[+-]?0[0-9_]")
FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[Ee][+-]?[0-9]+)?")


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
