"""A signaling server that lets in whom a test says.

What it does with tokens and addresses is up to the test, so that the SDK can be tested with every
reason that a server may have for turning a client away. The demo page and `/ice-servers` are the
real ones.
"""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from demo.routes import demo_routes
from edge.door import Door, Grant, Refused
from edge.ice_servers import IceServersHandler

UNAUTHORIZED = (HTTPStatus.UNAUTHORIZED, "unauthorized")
TOKEN_EXPIRED = (HTTPStatus.UNAUTHORIZED, "token-expired")
FORBIDDEN_ORIGIN = (HTTPStatus.FORBIDDEN, "forbidden-origin")
FULL = (HTTPStatus.SERVICE_UNAVAILABLE, "full")

Refusal = tuple[HTTPStatus, str]


def lets_in(token: str | None) -> Refusal | None:
    """Let anybody in."""
    return None


class Gatekeeper:
    """The server at `url`. A test may set the attributes while it runs.

    It is its own door's check of tokens.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://localhost:{port}/"
        self.refuses: Callable[[str | None], Refusal | None] = lets_in
        """Returns why a client with that token is refused; None if it is not."""
        self.answer: dict[str, Any] = {"iceServers": []}
        """What is answered about ICE servers."""
        self.refuses_joins = False
        self.handshakes: list[str | None] = []
        """The token of each handshake so far."""
        self.asked: list[str | None] = []
        """The token with each question for ICE servers so far."""
        self.queries: list[str] = []
        """The query of each."""
        self.clients: dict[str, Client] = {}
        self.loop = asyncio.new_event_loop()

    def check(self, request: HTTPServerRequest) -> Grant:
        token = token_of(request)
        if "Upgrade" in request.headers:
            self.handshakes.append(token)
        else:
            self.asked.append(token)
            self.queries.append(request.query)
        refusal = self.refuses(token)
        if refusal:
            raise Refused(*refusal)
        return Everything()

    def cut(self) -> None:
        """Close the connection of every client."""
        for client in [*self.clients.values()]:
            self.loop.call_soon_threadsafe(client.close)


class Everything:
    """What everybody is granted."""

    subject: str | None = None

    def allows(self, room_id: str) -> bool:
        return True


def token_of(request: HTTPServerRequest) -> str | None:
    """Return the token that an SDK sends; fail if it is anywhere else."""
    assert re.fullmatch(r"|connected=1|client_id=\d{20}", request.query)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    offered = request.headers.get("Sec-WebSocket-Protocol")
    if offered:
        protocol, _, second = offered.partition(", ")
        assert protocol == "signaling"
        scheme, _, token = second.partition(".")
    assert scheme.lower() in ("", "bearer")
    return token or None


class Client(WebSocketHandler):
    """One client's connection. All clients are in one room."""

    def initialize(self, door: Door, gatekeeper: Gatekeeper) -> None:
        self.door = door
        self.gatekeeper = gatekeeper
        self.id = f"{len(gatekeeper.handshakes):020}"
        self.joined = False

    def prepare(self) -> None:
        try:
            self.door.check(self.request)
        except Refused as refused:
            self.set_status(refused.status)
            self.finish()

    def check_origin(self, origin: str) -> bool:
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return subprotocols[0] if subprotocols else None

    def open(self) -> None:
        self.gatekeeper.clients[self.id] = self
        self.tell("notify-client-id", {"client_id": self.id})

    def on_close(self) -> None:
        if self.gatekeeper.clients.pop(self.id, None) and self.joined:
            for other in self.others():
                other.tell("leave-client", {"client_id": self.id})

    def on_message(self, message: str | bytes) -> None:
        request = json.loads(message)
        payload = request["payload"]
        if request["type"] != "join":
            to = self.gatekeeper.clients.get(payload["client_id"])
            if to and self.joined:
                to.tell(request["type"], payload | {"client_id": self.id})
        elif self.gatekeeper.refuses_joins:
            self.tell("error", {"error": "failed to join room"})
        else:
            self.joined = True
            for other in self.others():
                other.tell("new-client", {"client_id": self.id})

    def others(self) -> list["Client"]:
        clients = self.gatekeeper.clients.values()
        return [it for it in clients if it.joined and it is not self]

    def tell(self, type_: str, payload: dict[str, Any]) -> None:
        if self.ws_connection:
            self.write_message(json.dumps({"type": type_, "payload": payload}))


@contextmanager
def running_gatekeeper() -> Iterator[Gatekeeper]:
    """Run one in a thread, since Playwright's methods block."""
    (sock,) = bind_sockets(0, "127.0.0.1")
    gatekeeper = Gatekeeper(sock.getsockname()[1])
    door = Door(tokens=gatekeeper)
    app = Application(
        [
            (
                r"/ice-servers",
                IceServersHandler,
                {"door": door, "ice_servers": lambda *_: json.dumps(gatekeeper.answer)},
            ),
            (r"/connect", Client, {"door": door, "gatekeeper": gatekeeper}),
            *demo_routes(),
        ],
        log_function=lambda handler: None,
    )
    stop = asyncio.Event()

    async def serve() -> None:
        server = HTTPServer(app)
        server.add_sockets([sock])
        await stop.wait()
        server.stop()
        for client in [*gatekeeper.clients.values()]:
            client.close()
        await server.close_all_connections()

    thread = threading.Thread(target=gatekeeper.loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield gatekeeper
    finally:
        gatekeeper.loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        gatekeeper.loop.close()
