"""Starts the server: `python main.py -addr 0.0.0.0 -port 5000` (main.go)."""

import process

if __name__ == "__main__":
    process.begin()  # Before the imports, which take a while.

import asyncio
import logging
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from config.config import Config, ConfigError, init_env
from config.flags import TTL, FlagError, parse_flags, read_ttl
from log import Records, log_at_once, log_to_stderr, say
from transport.listen import ListenError, listen
from version import VERSION

if TYPE_CHECKING:
    from workers.workers import Workers

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
        room, ttl = flags.pop("mint", None), flags.pop("ttl", read_ttl(TTL))
        environ = init_env()
        config = Config.from_environ(environ, **flags)
        if room is not None:
            from capabilities import mint

            print(*mint(config, room, ttl), sep="\n")
            return 0
    except FlagError as error:
        say(str(error))
        return error.exit_code
    except ConfigError as error:
        say(str(error))
        return 2
    count = config.workers or process.processors()
    try:
        if count == 1:
            return run_server(config)
        from workers.supervisor import Supervisor

        sockets = listen(config.addr, config.port)
        log_at_once(config.log_level)
        records = Records(count)
        code = Supervisor(count, partial(run_server, config, sockets, records)).run()
        records.report_at_end()
        return code
    except ListenError as error:
        say(str(error))
        return 1


def run_server(
    config: Config,
    sockets: Sequence[socket.socket] | None = None,
    records: Records | None = None,
    workers: "Workers | None" = None,
) -> int:
    """Serve, as one of the workers if there are some, and return the exit code.

    Workers share the sockets and the count of log records. Raises ListenError.
    """
    # Not before a worker is a process of its own: ids of clients have the number of the process in
    # which their library was imported.
    from server import serve

    process.keep_what_is_there()
    name = ""
    if records is not None and workers is not None:
        name, records.mine = f"worker {workers.number}", workers.number
    loop_factory = process.new_event_loop
    try:
        with (
            log_to_stderr(config.log_level, name, records),
            asyncio.Runner(loop_factory=loop_factory) as runner,
        ):
            runner.run(serve(config, sockets, workers))
    except ConfigError as error:  # Of what is looked at only when it is needed.
        say(str(error))
        return 2
    return 0


if __name__ == "__main__":
    main()
