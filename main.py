"""Starts the server: `python main.py -addr 0.0.0.0 -port 5000` (main.go)."""

import process

if __name__ == "__main__":
    process.begin()  # Before the imports, which take a while.

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, cast

from config.config import Config, ConfigError, Port, init_env, read_setting
from log import log_to_stderr
from server import ListenError, serve

try:
    from uvloop import new_event_loop
except ImportError:  # There is none for Windows.
    from asyncio import new_event_loop  # type: ignore[assignment]

logger = logging.getLogger(__name__)


class Flags(argparse.ArgumentParser):
    """The flags as Go reads them: one dash or two, a value after a space or `=`, the last wins."""

    def __init__(self) -> None:
        super().__init__(
            prog="main.py",
            add_help=False,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
        )
        self.add_argument(
            "-addr",
            "--addr",
            metavar="ADDRESS",
            help=f"address to listen on (default {Config.addr})",
        )
        self.add_argument(
            "-port", "--port", type=_port, help=f"port to listen on (default {Config.port})"
        )
        self.add_argument(
            "-demo",
            "--demo",
            type=_bool,
            nargs="?",
            metavar="=BOOL",
            help="serve the demo page too (default false)",
        )
        self.add_argument("-h", "-help", "--help", action="help", help="show this and exit")

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        """None: `allow_abbrev` forbids `--po`, but leaves `-po`."""
        return []

    def error(self, message: str) -> NoReturn:
        """Says what is wrong on one line, then what is right, and exits with 2."""
        self.exit(2, f"{' '.join(message.splitlines())}\n{self.format_help()}")


def _with_value(arg: str) -> str:
    """A boolean flag's value is never the next word, as it would be to argparse."""
    return f"{arg}=true" if arg in ("-demo", "--demo") else arg


def _bool(text: str) -> bool:
    """Reads what Go's `strconv.ParseBool` does."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _port(text: str) -> int:
    try:
        return cast(int, read_setting(text, Port))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Returns the exit code.

    That is 0 after a signal, 1 when the address cannot be listened on, 2 for a bad flag or setting.
    """
    flags: dict[str, Any] = vars(Flags().parse_args([_with_value(arg) for arg in argv]))
    try:
        environ = init_env()
        config = Config.from_environ(environ, **flags)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        with log_to_stderr(config.log_level), asyncio.Runner(loop_factory=new_event_loop) as runner:
            if environ.get("REDIS_HOST"):
                logger.warning(
                    "REDIS_HOST is set, but this server does not share its rooms over Redis yet"
                )
            runner.run(serve(config))
    except ListenError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main()
