"""One client's WebSocket connection (handler/handler.go)."""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from config.config import Config
from edge.door import Door, Refused, Visitor
from handler.connections import Connections
from handler.large_rooms import LARGE, NOTICES_AT_ONCE, NOTICES_PER_SECOND, LargeRooms
from manager.room import NotInRoomError, RoomError, RoomManager
from model.message import (
    ClientIDPayload,
    ErrorPayload,
    InvalidPayloadError,
    Message,
    MessageError,
    MessageType,
    ReceivedPayload,
    UnknownMessageTypeError,
    decode_ice_candidate,
    decode_join_room,
    decode_message,
    decode_sdp,
)
from model.room import Client
from transport.choice import Conn, websocket_protocol
from transport.handshake import refusal
from transport.private import reason_phrase
from transport.protocol import LoopProtocol, Received

if TYPE_CHECKING:
    from workers.workers import Workers

logger = logging.getLogger(__name__)

PING = Message(MessageType.PING).encode()

NOBODY = Client(lambda message: None)
"""Takes the place of the client before the handshake and after the end."""

FAILURES: dict[str | None, str] = {
    MessageType.JOIN: "failed to join room",
    MessageType.SDP_OFFER: "failed to transfer offer",
    MessageType.SDP_ANSWER: "failed to transfer answer",
    MessageType.ICE_CANDIDATE: "failed to transfer ice candidate",
}
"""What a client is told when its message could be read but not carried out."""


def undelivered(client: Client, message_type: MessageType) -> None:
    """Tell a client that a message of its did not arrive after all."""
    client.send(Message(MessageType.ERROR, ErrorPayload(FAILURES[message_type])).encode())


MOVE = 50
"""Messages to others that are about as much work as to move a client to another worker."""

SETTLED = 4.0
"""Seconds after which a client that has moved is like one that never has."""

SUBPROTOCOL = "signaling"
"""What is selected when a client offers its token as another subprotocol."""


class NotAllowedError(RoomError):
    """The client may not join the room."""


class UnavailableError(RoomError):
    """The room cannot be joined just now."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A client on its way to another worker: what that has to know. It can be pickled."""

    client_id: str
    address: str
    visitor: Visitor | None
    owes: float
    """Seconds before it may join a large room without waiting; negative if that was long ago."""
    received: Received
    """What it has sent, from the join on."""


class Handler(WebSocketHandler):
    """Reads a client's messages, has the manager carry them out, and writes to the client.

    Everything that a client receives goes through `send`, on the event loop's thread: there is one
    writer per connection.
    """

    ws_connection: Conn | None  # type: ignore[assignment]  # Tornado's type lacks `unsent`.

    # Attributes of the class where an idle client needs none. Python shares the names of up to 30
    # attributes between instances; with one more, each client would take a kilobyte more.
    _closing: Conn | None = None
    """The former `ws_connection`, which Tornado forgets when the server closes it."""
    _notices_paid = 0.0
    """When the notices that its joins have caused are within the rate, by the loop's clock; 0 if
    there were none."""

    _came = 0.0
    """When it came from another worker, by the loop's clock; 0 if it did not."""

    visitor: Visitor | None = None
    """Who it is for the door; None without a door."""

    # What Tornado passes on from a request's path to `open`: nothing.
    open_args: tuple[Any, ...] = ()
    open_kwargs: dict[str, Any] = {}  # noqa: RUF012 - Nobody changes it.

    def initialize(
        self,
        manager: RoomManager,
        config: Config,
        connections: Connections,
        large_rooms: LargeRooms,
        door: Door | None = None,
        workers: "Workers | None" = None,
    ) -> None:
        self.manager = manager
        self.config = config
        self.connections = connections
        self.large_rooms = large_rooms
        self.door = door
        self.workers = workers
        self.client = NOBODY
        self._keepalive: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[None] | None = None
        """Its join, if that has to wait."""

    # The handshake

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        # Tells a refused client which version to retry with (RFC 6455, section 4.4).
        self.set_header("Sec-WebSocket-Version", "13")

    async def get(self) -> None:
        """Upgrade the connection, whatever page asks for it unless there is a door.

        Tornado's own `get` also checks the fields Origin and Sec-Fetch-Site, and raises for some.
        """
        connection = websocket_protocol(self)
        if self.door is not None:
            try:
                self.visitor = self.door.enter(self.request)
            except Refused as refused:
                self._refuse(refused)
                return
        self.ws_connection = connection
        self.clear_header("Sec-WebSocket-Version")
        await connection.accept_connection(self)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Select one if there are tokens, and never a token, though that can be among them.

        A browser that has offered some ends the connection if none is selected.
        """
        has_token = self.visitor is not None and self.visitor.grant is not None
        return SUBPROTOCOL if has_token and SUBPROTOCOL in subprotocols else None

    def _refuse(self, refused: Refused) -> None:
        self.clear_header("Sec-WebSocket-Version")
        self.set_status(refused.status)
        for name, value in refused.headers.items():
            self.set_header(name, value)
        self.finish(f"{refused.reason}\n")

    def write_error(self, status_code: int, **kwargs: object) -> None:
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # A request that is no upgrade is refused for that, whatever its method.
            self.set_status(refusal(self.request) or status_code)
        self.finish(f"{reason_phrase(self)}\n")

    # The connection

    def open(self, moved: Moved | None = None) -> None:
        """Welcome the client when its connection is open (CreateConnection).

        One that has moved here knows its id already, and goes on as if nothing had happened.
        """
        try:
            self._begin(moved)
        except BaseException:
            # After `open` has failed, LoopProtocol calls this too, and Tornado's protocol does not.
            # A second call does nothing.
            self.on_close()
            raise

    def _begin(self, moved: Moved | None) -> None:
        self.set_nodelay(True)
        self._loop = asyncio.get_running_loop()
        if moved is None:
            self.client = Client(self.send, address=_address(self.request))
        else:
            self.client = Client(self.send, moved.client_id, moved.address)
            if self.door is not None and moved.visitor is not None:
                self.visitor = self.door.enter_again(moved.visitor)
            self._came = self._loop.time()
            self._notices_paid = self._came + moved.owes
        self.connections.add(self)
        if self.visitor is not None:
            self.visitor.opened()
        if moved is None:
            welcome = Message(MessageType.NOTIFY_CLIENT_ID, ClientIDPayload(self.client.id))
            self.send(welcome.encode())
        self._keep_alive_later(self._loop.time())
        # Tornado's request and template functions are not needed any more. They are a third of the
        # memory of an idle connection.
        del self.request, self.ui

    def on_close(self) -> None:
        """Clean up when the connection is closed or lost. A second call does nothing."""
        if self._keepalive is not None:
            self._keepalive.cancel()
        try:
            # When all are closed nobody has to be told; and to take each of a room's n members out
            # of a copy of the room would be n² steps.
            if not self.connections.closing:
                self._leave_room()
        finally:
            self.connections.remove(self)
            if self.visitor is not None:
                self.visitor.closed()
            # This breaks reference cycles, which only the garbage collector would find.
            self.client = NOBODY
            self._closing = self._keepalive = self.visitor = None

    def on_gone(self) -> None:
        """Let the client's join wait no longer, so that its departure need not wait either."""
        if self._waiting is not None:
            # Not at once: a task that has not begun yet could not take note of it.
            self._loop.call_soon(self._waiting.cancel)

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        self._closing = self._closing or self.ws_connection
        self.on_gone()
        super().close(code, reason)

    def abort(self) -> None:
        """End the connection without waiting for the client to answer the close."""
        if self._closing is not None:
            self._closing.abort()

    def drop(self) -> None:
        """End the connection with 1013, since its file is needed for another."""
        self.close(1013, "too many connections")
        # Not at once: uvloop writes the close at the end of the iteration.
        self._loop.call_soon(self.abort)

    def _leave_room(self) -> None:
        """Take the client out of its room, at once unless that is large."""
        notices = self._count_notices()
        if notices > LARGE:
            self.large_rooms.call(notices, partial(self._leave, self.client))
        else:
            self._leave(self.client)

    def _leave(self, client: Client) -> None:
        try:
            self.manager.leave_room(client)
        except NotInRoomError:
            pass  # The client is in none.
        except RoomError as error:
            logger.error("client %s could not leave its room: %s", client.id, error)

    def send(self, message: bytes) -> None:
        """Send a message; this is the `Client.send` of its client (HandleSendMessage).

        A client for which more than `max_send_buffer` bytes would wait is closed with 1013.
        """
        connection = self.ws_connection
        if connection is None:
            return
        unsent = connection.unsent
        if unsent and unsent + len(message) > self.config.max_send_buffer:
            self._fall_behind(unsent)
        elif self.large_rooms.is_told:
            connection.write_later(message)
        else:
            connection.write_text(message)

    def _keep_alive(self, due: float) -> None:
        self.send(PING)
        self._keep_alive_later(due)

    def _keep_alive_later(self, due: float) -> None:
        # Counted from when the last one was due, so that the interval does not drift. Those that
        # were missed while the event loop was held up are left out, as Go's ticker does.
        interval = self.config.keepalive_interval
        late = max(self._loop.time() - due, 0.0)
        due += interval * (late // interval + 1)
        self._keepalive = self._loop.call_at(due, self._keep_alive, due)

    def _fall_behind(self, unsent: int) -> None:
        """Close the connection of a client that reads too slowly."""
        logger.info("client %s has %d bytes to read, closing", self.client.id, unsent)
        self.close(1013, "too far behind")
        # Not at once, since this is inside a call of the manager. If all members of a room are this
        # slow, telling the next one that this one leaves closes that one too, and so on, each time
        # deeper in the call stack.
        self._loop.call_soon(self._leave_room)

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Do what a client's message asks for (HandleReceiveMessage).

        A message that comes after the server has closed the connection is ignored. Return what the
        next one has to wait for, if anything.
        """
        if self.ws_connection is None:
            return None
        message_type = None
        wait = None
        try:
            request = decode_message(message)
            message_type = request.type
            handle = self._handlers.get(message_type)
            if handle is None:
                raise UnknownMessageTypeError("no such type")
            wait = handle(self, request.payload)
        except MessageError as error:
            self._send_error(error.wire_text, error)
        except RoomError as error:
            self._send_error(FAILURES[message_type], error)
        else:
            # Only now: an unknown type can be any text, even an SDP. The condition saves 0.2 µs.
            if self.config.log_level == "DEBUG":
                logger.debug("client %s: %s", self.client.id, message_type)
        return wait

    def _handle_join_room(self, payload: ReceivedPayload) -> Awaitable[None] | None:
        room_id = decode_join_room(payload).room_id
        if len(room_id) > self.config.max_room_name:
            raise InvalidPayloadError(f"room name of {len(room_id)} characters")
        if self.visitor is not None and not self.visitor.may_join(room_id):
            raise NotAllowedError(f"client {self.client.id} may not join {room_id!r}")
        debt = self._notices_paid - self._loop.time()
        if self.workers is not None and not self.workers.has(room_id):
            self._waiting = asyncio.create_task(self._move(room_id, debt, self.workers))
            return self._waiting
        notices = self._count_notices(room_id)
        joining = None
        if debt <= 0 and notices <= LARGE:
            joining = self._join_room(room_id, notices)
            if joining is None:
                return None
        self._waiting = asyncio.create_task(self._join_later(room_id, debt, joining))
        return self._waiting

    async def _join_later(self, room_id: str, debt: float, joining: Awaitable[None] | None) -> None:
        """Have the client join when its debt is paid and it is its turn, or see it `joining`.

        A client that joins a large room again and again is read slower, without an error: each of
        its joins is a few bytes and costs everybody some microseconds for each member.
        """
        try:
            if joining is None:
                await asyncio.sleep(debt)
                await self.large_rooms.turn(self._count_notices(room_id))
                if self.ws_connection is None or self.ws_connection.is_closing():
                    return  # The client is gone.
                with self.large_rooms.telling():
                    joining = self._join_room(room_id, self._count_notices(room_id))
            if joining is not None:
                await joining
        except RoomError as error:
            self._send_error(FAILURES[MessageType.JOIN], error)
        except asyncio.CancelledError:
            pass  # The client is gone, or the server has stopped.
        finally:
            self._waiting = None

    async def _move(self, room_id: str, debt: float, workers: "Workers") -> None:
        """Have the client leave its room, and the worker that has the other one let it join."""
        try:
            if debt > 0:
                await asyncio.sleep(debt)
            if not await workers.can_take(room_id):
                raise UnavailableError("the worker that has the room is not ready")
            notices = self._count_notices()
            if notices > LARGE:
                await self.large_rooms.turn(notices)
            connection = cast(LoopProtocol, self.ws_connection)
            if connection is None or connection.is_closing():
                return  # The client is gone.
            with self.large_rooms.telling():
                self._leave(self.client)
            if not await workers.settled():
                raise UnavailableError("the other servers would not see that it has left")
            await connection.drained()
            if workers.stopping:
                return  # It is closed here, soon.
            self._pay(notices + MOVE)
            # Those who have just come from another worker wait for the others.
            due = max(self._came, self._loop.time() - SETTLED)
            workers.send(room_id, due, *self._give_away(connection, room_id))
        except RoomError as error:
            self._send_error(FAILURES[MessageType.JOIN], error)
        except WebSocketClosedError:
            pass  # So it is now.
        except OSError as error:
            logger.error("client %s could not be handed over: %s", self.client.id, error)
            self.close(1013, "too many connections")
        except asyncio.CancelledError:
            pass  # The client is gone, or the server has stopped.
        finally:
            self._waiting = None

    def _give_away(self, connection: LoopProtocol, room_id: str) -> tuple[socket.socket, Moved]:
        join = json.dumps({"type": MessageType.JOIN, "payload": {"room_id": room_id}})
        client = self.client
        visitor = self.visitor and self.visitor.moving()
        owes = self._notices_paid - self._loop.time()
        sock, received = connection.give_away()
        received = received._replace(events=[join, *received.events])
        return sock, Moved(client.id, client.address, visitor, owes, received)

    def _join_room(self, room_id: str, notices: int) -> Awaitable[None] | None:
        """Have the client join, of which so many others are told."""
        joining = self.manager.join_room(self.client, room_id)
        self.connections.joined(self)
        self._pay(notices)
        return joining

    def _pay(self, notices: int) -> None:
        """Take note of so many notices."""
        earliest = self._loop.time() - NOTICES_AT_ONCE / NOTICES_PER_SECOND
        self._notices_paid = max(self._notices_paid, earliest) + notices / NOTICES_PER_SECOND

    def _count_notices(self, room_id: str | None = None) -> int:
        """Return how many others are told if the client joins the room, or else leaves its own."""
        notices = 0
        if self._notices_paid:  # It has joined a room before.
            with suppress(RoomError):
                room = self.manager.get_room_by_client_id(self.client.id)
                notices = len(room.clients) - 1
                if room.id == room_id:
                    return notices
        return notices if room_id is None else notices + self.manager.room_size(room_id)

    def _handle_sdp_offer(self, payload: ReceivedPayload) -> None:
        self.manager.transfer_sdp_offer(self.client, decode_sdp(payload))

    def _handle_sdp_answer(self, payload: ReceivedPayload) -> None:
        self.manager.transfer_sdp_answer(self.client, decode_sdp(payload))

    def _handle_ice_candidate(self, payload: ReceivedPayload) -> None:
        self.manager.transfer_ice_candidate(self.client, decode_ice_candidate(payload))

    def _handle_keepalive(self, payload: ReceivedPayload) -> None:
        """Do nothing: that anything came shows that the client is there."""

    # Takes the place of the original's `switch`. A `match` would look up members of the enumeration
    # for each message: on Python 3.11, 0.16 µs for each case.
    _handlers: ClassVar[
        dict[str | None, Callable[["Handler", ReceivedPayload], Awaitable[None] | None]]
    ] = {
        MessageType.JOIN: _handle_join_room,
        MessageType.SDP_OFFER: _handle_sdp_offer,
        MessageType.SDP_ANSWER: _handle_sdp_answer,
        MessageType.ICE_CANDIDATE: _handle_ice_candidate,
        MessageType.PING: _handle_keepalive,
        MessageType.PONG: _handle_keepalive,
    }

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what a method here has raised; the connection is then aborted."""
        if not isinstance(value, HTTPError):  # A refused handshake is no news.
            who = "a connection" if self.client is NOBODY else f"client {self.client.id}"
            logger.error("%s failed", who, exc_info=(typ, value, tb))

    def _send_error(self, text: str, cause: Exception) -> None:
        logger.debug("client %s is told %r: %s", self.client.id, text, cause)
        self.send(Message(MessageType.ERROR, ErrorPayload(text)).encode())


def _address(request: HTTPServerRequest) -> str:
    """Return the address from which a request comes; one of IPv4 is not shown as one of IPv6."""
    address = str(request.remote_ip)
    return address.removeprefix("::ffff:") if "." in address else address
