"""The flags, in the syntax of Go's package flag.

`-port 5000`, `--port 5000` and `-port=5000` are the same; of several the last one counts. What
follows a flag is its value, whatever it looks like; a boolean flag takes one only after `=`. Flags
end at `--` and before the first argument that is not a flag. argparse cannot be told to read
arguments like this.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from config.config import MAX_PORT, MAX_WORKERS, Config
from config.numbers import parse_duration, parse_int

# The one file that `make build` makes may have any name.
PROGRAM = os.path.basename(sys.executable) if getattr(sys, "frozen", False) else "main.py"


TTL = "1h0m0s"
"""How long a token is valid if no flag says so."""


class FlagError(Exception):
    """The flags do not start a server. The text is what to print: the reason, then the usage."""

    exit_code = 2

    def __init__(self, reason: str) -> None:
        super().__init__(f"{' '.join(reason.splitlines())}\n{usage()}")


class HelpRequested(FlagError):
    """Help is asked for. The text is the usage alone."""

    exit_code = 0

    def __init__(self) -> None:
        Exception.__init__(self, usage())


@dataclass(frozen=True)
class Flag:
    """A flag. `read` converts its text, or raises ValueError with the reason why it cannot."""

    name: str
    usage: str
    value: str
    """What the usage calls its value; empty for a boolean flag."""
    read: Callable[[str], Any]


def read_bool(text: str) -> bool:
    """Read a boolean (`strconv.ParseBool`)."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError("parse error")


def read_workers(text: str) -> int:
    """Read a number of processes."""
    workers = parse_int(text, base=0)
    if not 0 <= workers <= MAX_WORKERS:
        raise ValueError(f"not from 0 to {MAX_WORKERS}")
    return workers


def read_port(text: str) -> int:
    """Read a port, which unlike `PORT` may be hexadecimal, octal or binary, as in Go's flags."""
    port = parse_int(text, base=0)
    if not 0 <= port <= MAX_PORT:
        raise ValueError(f"not from 0 to {MAX_PORT}")
    return port


def read_ttl(text: str) -> float:
    """Read how long a token is valid, and return it in seconds."""
    ttl = parse_duration(text)
    if ttl < 1:
        raise ValueError("not 1s or more")
    return ttl


FLAGS = {
    flag.name: flag
    for flag in (
        Flag("addr", f"server address (default {json.dumps(Config.addr)})", "string", str),
        Flag("demo", "serve the demo page too", "", read_bool),
        Flag(
            "mint",
            "print a token for the room and a link to the demo with it, and exit",
            "room",
            str,
        ),
        Flag("port", f"server port (default {Config.port})", "int", read_port),
        Flag("tls-cert", "file of a certificate, to speak TLS", "string", str),
        Flag("tls-key", "file of the certificate's key", "string", str),
        Flag("ttl", f"how long that token is valid (default {TTL})", "duration", read_ttl),
        Flag("version", "print the version and exit", "", read_bool),
        Flag(
            "workers",
            f"processes that serve the port, 0 for one per core (default {Config.workers})",
            "int",
            read_workers,
        ),
    )
}


def usage() -> str:
    """Return what Go prints as usage, without the line break at its end."""
    lines = [f"Usage of {PROGRAM}:"]
    for flag in FLAGS.values():
        lines += [f"  -{flag.name} {flag.value}".rstrip(), f"    \t{flag.usage}"]
    return "\n".join(lines)


def parse_flags(args: Sequence[str]) -> dict[str, Any]:
    """Return the values of the flags that are given, by the names of the settings (`flag.Parse`).

    Raises FlagError, also for an argument that is not a flag, which Go would leave to the program.
    """
    values: dict[str, Any] = {}
    rest = list(args)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        arg = rest.pop(0)
        if arg == "--":
            break
        name, equals, text = arg.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {arg}")
        flag = FLAGS.get(name)
        if flag is None:
            if name in ("h", "help"):
                raise HelpRequested
            raise FlagError(f"flag provided but not defined: -{name}")
        if not flag.value:
            text = text if equals else "true"
        elif not equals:
            if not rest:
                raise FlagError(f"flag needs an argument: -{name}")
            text = rest.pop(0)
        try:
            values[name.replace("-", "_")] = flag.read(text)
        except ValueError as error:
            what = "value {} for flag" if flag.value else "boolean value {} for"
            raise FlagError(f"invalid {what.format(_quoted(text))} -{name}: {error}") from None
    if rest:
        raise FlagError(f"unexpected argument: {_quoted(rest[0])}")
    return values


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())
