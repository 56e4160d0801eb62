"""Echoes WebSocket messages, for conformance suites: `python -m tests.echo_server --port 9001`.

The path is /echo. Text comes back as text and binary as binary, up to 64 MiB a message.
"""

import argparse
import asyncio
import signal
from contextlib import suppress

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler, WebSocketProtocol

from transport.choice import websocket_protocol
from transport.listener import Listener
from transport.newcomers import Newcomers

try:
    from uvloop import new_event_loop
except ImportError:  # uvloop is not installed.
    from asyncio import new_event_loop  # type: ignore[assignment]

MAX_MESSAGE_SIZE = 64 * 1024 * 1024
HANDSHAKE_TIMEOUT = 10.0
BACKLOG = 1024


class Echo(WebSocketHandler):
    """Reads the next message when most of the answer to the last one has been taken."""

    def initialize(self, handlers: "set[Echo]") -> None:
        self.handlers = handlers

    def check_origin(self, origin: str) -> bool:
        return True

    def get_websocket_protocol(self) -> WebSocketProtocol:
        return websocket_protocol(self)

    def open(self) -> None:
        self.set_nodelay(True)
        self.handlers.add(self)

    def on_close(self) -> None:
        self.handlers.discard(self)

    async def on_message(self, message: str | bytes) -> None:
        with suppress(WebSocketClosedError):
            await self.write_message(message, binary=isinstance(message, bytes))


async def serve(host: str, port: int, transport: str) -> None:
    """Serve until SIGTERM or SIGINT, then close every connection within 5 seconds."""
    handlers: set[Echo] = set()
    app = Application(
        [("/echo", Echo, {"handlers": handlers})],
        websocket_max_message_size=MAX_MESSAGE_SIZE,
        log_function=lambda handler: None,
    )
    http_server = HTTPServer(app, max_buffer_size=2 * MAX_MESSAGE_SIZE)
    upgrades = transport == "auto"
    listener = Listener(app, http_server, HANDSHAKE_TIMEOUT, Newcomers(), upgrades=upgrades)
    sockets = bind_sockets(port, host, backlog=BACKLOG)
    await listener.add_sockets(sockets, BACKLOG)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(f"listening on {host}:{sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    listener.stop()
    http_server.stop()
    for handler in tuple(handlers):
        handler.close(1001)
    while handlers:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.echo_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 for any that is free")
    parser.add_argument("--transport", choices=["auto", "tornado"], default="auto")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(options.host, options.port, options.transport))


if __name__ == "__main__":
    main()
