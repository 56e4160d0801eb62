"""This server on Tornado's own TLS and WebSockets: `python -m bench.tornado_tls [FLAG ...]`.

It takes the flags and settings of `main.py`, as far as they are about where it listens and about
rooms. With `SIGNALING_TRANSPORT=tornado` that has Tornado's WebSockets over its own TLS.
"""

from __future__ import annotations

import asyncio
import os
import sys
from ssl import PROTOCOL_TLS_SERVER, SSLContext

from tornado.httpserver import HTTPServer

import process
from config.config import Config
from config.flags import parse_flags
from handler.connections import Connections
from handler.large_rooms import LargeRooms
from manager.room import RoomManager
from repository.mem.room import RoomRepository
from server import make_app
from transport.listen import listen
from transport.newcomers import Newcomers


async def serve(config: Config) -> None:
    """Serve until the process is ended."""
    app = make_app(RoomManager(RoomRepository()), config, Connections(Newcomers()), LargeRooms())
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config.tls_cert, config.tls_key)
    process.raise_file_limit()
    HTTPServer(app, ssl_options=context).add_sockets(listen(config.addr, config.port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=process.new_event_loop) as runner:
        runner.run(serve(Config.from_environ(os.environ, **parse_flags(sys.argv[1:]))))
