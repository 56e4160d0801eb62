"""Rooms and the clients in them (model/room.go)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from epyxid import xid_create

from model.message import Message


def _new_id() -> str:
    """An xid as rs/xid makes them: 20 characters 0-9a-v that sort by the second in which they were
    made."""
    return str(xid_create())


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """A connected WebRTC client.

    `send` is what the channel `Send` is to the original: it hands over one message, keeps the order
    in which it was called, never blocks and never raises. What does not fit into its bound of bytes
    ends the client's connection, so that no message is lost with the client none the wiser; what is
    sent after that, or after the client has gone, goes nowhere.
    """

    send: Callable[[Message], None]
    id: str = field(default_factory=_new_id)


@dataclass(frozen=True, slots=True)
class Room:
    """A room as it is at one moment, its members by client id in the order in which they joined.

    A value: joining and leaving make another one, which the repository then stores. Whoever goes
    through the members is therefore never disturbed by somebody coming or going meanwhile.
    """

    id: str
    clients: Mapping[str, Client] = field(default_factory=dict)

    def with_client(self, client: Client) -> "Room":
        """The room after `client` has joined it; a member keeps its place."""
        return Room(self.id, {**self.clients, client.id: client})

    def without_client(self, client: Client) -> "Room":
        """The room after `client` has left it. Raises KeyError when it is no member."""
        clients = dict(self.clients)
        del clients[client.id]
        return Room(self.id, clients)
