r"""Reads `.env` files as godotenv 1.5.1 does, which the original uses.

    NAME=value               # a comment: all from a space and the last `#` on
    export NAME: value       # a colon does as well, and `export` changes nothing
    NAME='value'             # as it stands, over several lines if need be
    NAME="value"             # the same, but `\n` and `\r` are line breaks, and `\"` is a quote

In unquoted and double-quoted values `$NAME` and `${NAME}` stand for what the file has set before,
or for nothing; the environment of the process has no part in this. `\$` is a dollar sign. Of two
variables of one name the last counts.

A value is the one that godotenv gives, odd as that can be at the edges, or it is refused.
docs/deviations.md lists what is refused here alone.
"""

import re
from collections.abc import Mapping

# White space within a line, and any white space, as Go defines them.
BLANK = "\t\v\f\r \x85\xa0"
SPACE = f"{BLANK}\n\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

BETWEEN = re.compile(rf"(?:[{SPACE}]|#[^\n]*)*")
NAME = re.compile(rf"(?:export[{BLANK}]++)?+(?P<name>[A-Za-z0-9_.{BLANK}]*+)")
STATEMENT = re.compile(
    rf"{NAME.pattern}[=:][{BLANK}]*+"
    # A quote after a backslash does not end a value, even if that backslash is escaped itself.
    r"(?:'(?P<single>(?s:.*?))(?<!\\)'"
    r'|"(?P<double>(?s:.*?))(?<!\\)"'
    r"""|(?!["'])(?P<unquoted>[^\r\n]*))"""
)
BEFORE_COMMENT = re.compile(rf".*[{BLANK}](?=#)")
ESCAPED_LETTER = re.compile(r"\\(.)")
ESCAPED = re.compile(r"\\([^$])")
NOT_UTF_8 = re.compile(r"[\udc80-\udcff]")  # What `surrogateescape` makes of a byte.
REFERENCE = re.compile(r"(?P<escape>\\?)\$\(?\{?(?P<name>[A-Z0-9_]*)\}?")


class EnvFileError(ValueError):
    """The file cannot be read. The text says in which line and why; it quotes no value."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")


def parse_env_file(content: bytes) -> dict[str, str]:
    """Return the variables that the file sets. Raises EnvFileError."""
    # Comments may be in any encoding.
    text = content.decode(errors="surrogateescape")
    if text.startswith("\ufeff"):
        raise EnvFileError(1, "starts with a byte order mark; save it as UTF-8 without one")
    text = text.replace("\r\n", "\n")

    values: dict[str, str] = {}
    position = _next_statement(text, 0)
    while position < len(text):
        statement = STATEMENT.match(text, position)
        line = text.count("\n", 0, position) + 1
        if not statement:
            raise EnvFileError(line, _fault(text, position))
        name = statement["name"].strip(BLANK)
        if not name:
            raise EnvFileError(line, "no name before the value")
        single, double, unquoted = statement.group("single", "double", "unquoted")
        if single is not None:
            value = single.rstrip("'")
        elif double is not None:
            value = _replace_references(_replace_escapes(double.rstrip('"')), values)
        else:
            before = BEFORE_COMMENT.match(unquoted)
            value = _replace_references((before[0] if before else unquoted).strip(BLANK), values)
        if NOT_UTF_8.search(value):
            raise EnvFileError(line, "a value that is not UTF-8")
        if "\0" in value:
            raise EnvFileError(line, "a value with a NUL character")
        values[name] = value
        position = _next_statement(text, statement.end())
    return values


def _next_statement(text: str, position: int) -> int:
    between = BETWEEN.match(text, position)
    return between.end() if between else position


def _fault(text: str, position: int) -> str:
    name = NAME.match(text, position)
    after = text[name.end() :][:1] if name else ""
    if after in ("=", ":"):
        return "the quote at the start of the value is never closed"
    if after in ("", "\n"):
        return "no = or : after the name"
    if NOT_UTF_8.match(after):
        return "a name that is not UTF-8"
    return f"unexpected character {after!r} in a name"


def _replace_escapes(value: str) -> str:
    # In two steps, the second of which sees what the first one leaves: as godotenv does it.
    value = ESCAPED_LETTER.sub(lambda it: {"n": "\n", "r": "\r"}.get(it[1], it[0]), value)
    return ESCAPED.sub(r"\1", value)


def _replace_references(value: str, values: Mapping[str, str]) -> str:
    def replace(reference: re.Match[str]) -> str:
        if reference["escape"]:
            return reference[0][1:]
        return values.get(reference["name"], "") if reference["name"] else reference[0]

    return REFERENCE.sub(replace, value)
