"""Starts the server: `python main.py -addr 0.0.0.0 -port 5000` (main.go)."""

import process

if __name__ == "__main__":
    process.begin()  # Before the imports, which take a while.

import asyncio
import logging
import sys
from collections.abc import Sequence

from config.config import Config, ConfigError, init_env
from config.flags import FlagError, parse_flags
from log import log_to_stderr, say
from server import serve
from transport.listen import ListenError
from version import VERSION

logger = logging.getLogger(__name__)


def main() -> None:
    try:
        sys.exit(run(sys.argv[1:]))
    finally:
        process.ignore_stop_signals()


def run(argv: Sequence[str]) -> int:
    """Run the server and return the exit code.

    It is 0 after a signal, 1 if the address cannot be listened on, and 2 for an invalid flag or
    setting.
    """
    try:
        flags = parse_flags(argv)
        if flags.pop("version", False):
            print(f"pysignaling {VERSION}")
            return 0
        environ = init_env()
        config = Config.from_environ(environ, **flags)
    except FlagError as error:
        say(str(error))
        return error.exit_code
    except ConfigError as error:
        say(str(error))
        return 2
    loop_factory = process.new_event_loop
    try:
        with log_to_stderr(config.log_level), asyncio.Runner(loop_factory=loop_factory) as runner:
            process.keep_what_is_there()
            runner.run(serve(config))
    except ListenError as error:
        say(str(error))
        return 1
    except (
        ConfigError
    ) as error:  # Of what is not looked at before: the certificate, or the library for Redis.
        say(str(error))
        return 2
    return 0


if __name__ == "__main__":
    main()
