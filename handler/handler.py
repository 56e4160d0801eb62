"""One client's WebSocket connection (handler/handler.go)."""

import asyncio
import logging
from contextlib import suppress

import msgspec
from msgspec import Raw, UnsetType
from tornado.ioloop import PeriodicCallback
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler, WebSocketProtocol

from config.config import Config
from handler.connections import Connections
from manager.room import RoomManager
from model.message import (
    SDP,
    ClientID,
    Error,
    IceCandidate,
    InvalidMessageError,
    InvalidPayloadError,
    JoinRoomPayload,
    Message,
    MessageError,
    MessageType,
    UnknownMessageTypeError,
    decode_message,
    decode_payload,
)
from model.room import Client
from repository.room import NotFoundError, RepositoryError

logger = logging.getLogger(__name__)

PING = Message(MessageType.PING)

# What a client is told when its message could be read but not carried out.
FAILURES: dict[str | None, str] = {
    MessageType.JOIN: "failed to join room",
    MessageType.SDP_OFFER: "failed to transfer offer",
    MessageType.SDP_ANSWER: "failed to transfer answer",
    MessageType.ICE_CANDIDATE: "failed to transfer ice candidate",
}

# And when it could not be read.
MISUNDERSTANDINGS: dict[type[MessageError], str] = {
    InvalidMessageError: "invalid message",
    UnknownMessageTypeError: "unknown message type",
    InvalidPayloadError: "invalid payload",
}

_JOIN_ROOM_PAYLOAD = msgspec.json.Decoder(JoinRoomPayload)
_SDP = msgspec.json.Decoder(SDP)
_ICE_CANDIDATE = msgspec.json.Decoder(IceCandidate)


class Handler(WebSocketHandler):
    """Reads what a client says, does it through the manager, and writes what the client is to hear.

    All that a client receives goes through `send`, on the event loop's thread: there is one writer
    per connection.
    """

    def initialize(self, manager: RoomManager, config: Config, connections: Connections) -> None:
        self.manager = manager
        self.config = config
        self.connections = connections

    # The handshake

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        # What to come back with, for who is refused (RFC 6455, section 4.4).
        self.set_header("Sec-WebSocket-Version", "13")

    def check_origin(self, origin: str) -> bool:
        """Any page may connect, as to the original."""
        return True

    def get_websocket_protocol(self) -> WebSocketProtocol:
        protocol = super().get_websocket_protocol()
        if protocol is None:
            raise HTTPError(400)
        self.clear_header("Sec-WebSocket-Version")
        return protocol

    def write_error(self, status_code: int, **kwargs: object) -> None:
        if status_code == 405:
            self.set_status(400)  # A method that cannot upgrade is a request without an upgrade.
        self.finish(f"{self._reason}\n")

    # The connection

    def open(self) -> None:
        """The connection is there (CreateConnection)."""
        self.set_nodelay(True)
        self._unsent = 0
        self.client = Client(self.send)
        self.connections.add(self)
        self.send(Message(MessageType.NOTIFY_CLIENT_ID, ClientID(self.client.id)))
        self._keepalive = PeriodicCallback(
            lambda: self.send(PING), self.config.keepalive_interval * 1000
        )
        self._keepalive.start()

    def on_close(self) -> None:
        """The connection is gone, however it went; called once."""
        self._keepalive.stop()
        self._leave_room()
        self.connections.remove(self)

    def _leave_room(self) -> None:
        with suppress(NotFoundError):
            self.manager.leave_room(self.client)

    def send(self, message: Message) -> None:
        """What `Client.send` does (HandleSendMessage): the bound is `max_send_buffer`."""
        if self.ws_connection is None:
            return
        length = len(message.encoded)
        if self._unsent and self._unsent + length > self.config.max_send_buffer:
            self._fall_behind()
            return
        try:
            sent = self.write_message(message.encoded)
        except WebSocketClosedError:
            return
        self._unsent += length
        sent.add_done_callback(lambda sent: self._on_sent(sent, length))

    def _on_sent(self, sent: "asyncio.Future[None]", length: int) -> None:
        self._unsent -= length
        if not sent.cancelled():
            sent.exception()  # The connection was lost: on_close deals with that.

    def _fall_behind(self) -> None:
        """Ends the connection of a client that does not read what it is sent."""
        logger.info("client %s has %d bytes to read, closing", self.client.id, self._unsent)
        self.close(1013, "too far behind")
        # Later, for this was called by the manager telling a room something: in a room where all
        # have fallen behind, each one's leaving would end the next one's connection within its own
        # call, as deep as there are members.
        asyncio.get_running_loop().call_soon(self._leave_room)

    def on_message(self, message: str | bytes) -> None:
        """A message has come (HandleReceiveMessage). After the server has closed, none is read."""
        if self.ws_connection is None:
            return
        message_type = None
        try:
            request = decode_message(message)
            message_type = request.type
            self._handle(message_type, request.payload)
        except MessageError as error:
            self._send_error(MISUNDERSTANDINGS[type(error)], error)
        except RepositoryError as error:
            self._send_error(FAILURES[message_type], error)

    def _handle(self, message_type: str | None, payload: Raw | UnsetType) -> None:
        match message_type:
            case MessageType.JOIN:
                self._handle_join_room(payload)
            case MessageType.SDP_OFFER:
                self._handle_sdp_offer(payload)
            case MessageType.SDP_ANSWER:
                self._handle_sdp_answer(payload)
            case MessageType.ICE_CANDIDATE:
                self._handle_ice_candidate(payload)
            case MessageType.PING | MessageType.PONG:
                pass  # Answers to the keepalive.
            case _:
                raise UnknownMessageTypeError("no such type")
        # Not before: what claims to be a type may be anything, an SDP too.
        logger.debug("client %s: %s", self.client.id, message_type)

    def _handle_join_room(self, payload: Raw | UnsetType) -> None:
        room_id = decode_payload(_JOIN_ROOM_PAYLOAD, payload).room_id
        if len(room_id) > self.config.max_room_name:
            raise InvalidPayloadError(f"room name of {len(room_id)} characters")
        self.manager.join_room(self.client, room_id)

    def _handle_sdp_offer(self, payload: Raw | UnsetType) -> None:
        self.manager.transfer_sdp_offer(self.client, decode_payload(_SDP, payload))

    def _handle_sdp_answer(self, payload: Raw | UnsetType) -> None:
        self.manager.transfer_sdp_answer(self.client, decode_payload(_SDP, payload))

    def _handle_ice_candidate(self, payload: Raw | UnsetType) -> None:
        self.manager.transfer_ice_candidate(self.client, decode_payload(_ICE_CANDIDATE, payload))

    def _send_error(self, text: str, cause: Exception) -> None:
        logger.debug("client %s is told %r: %s", self.client.id, text, cause)
        self.send(Message(MessageType.ERROR, Error(text)))
