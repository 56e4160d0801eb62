"""Takes over clients from other workers, which `Handler` has sent here."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

from tornado.httputil import HTTPConnection, HTTPServerRequest
from tornado.web import Application

from handler.handler import Handler, Moved
from transport.choice import limits_of, loop_protocol
from transport.shared import Shared

logger = logging.getLogger(__name__)


class _NoConnection(HTTPConnection):
    """Stands for that of the handshake, which was another worker's."""

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Do nothing: the WebSocket is what the handler is told of."""


class Moving:
    """Makes a handler for each client that comes, with the collaborators of all handlers."""

    def __init__(
        self, application: Application, shared: Shared, collaborators: dict[str, Any]
    ) -> None:
        self._application = application
        self._collaborators = collaborators
        self._shared = shared
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, sock: socket.socket, moved: Moved) -> None:
        """Go on with a client; `sock` is that of its connection."""
        task = asyncio.create_task(self._take(sock, moved))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, sock: socket.socket, moved: Moved) -> None:
        request = HTTPServerRequest("GET", "/connect", connection=_NoConnection())
        handler = Handler(self._application, request, **self._collaborators)
        handler.open_args = (moved,)
        handler.ws_connection = protocol = loop_protocol(handler, limits_of(handler), self._shared)
        protocol.resume(moved.received)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
        except OSError as error:
            sock.close()
            logger.error("client %s could not be taken over: %s", moved.client_id, error)
