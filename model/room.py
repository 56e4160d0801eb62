"""Rooms and the clients in them (model/room.go)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from epyxid import xid_create

SHOWN = 64
"""Characters of a room's name that a log record shows."""


def new_id() -> str:
    """Return an xid as rs/xid makes them: 20 characters 0-9a-v that sort by time."""
    return str(xid_create())


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """A connected WebRTC client.

    `send` takes the place of the original's channel `Send`. It takes one encoded message, keeps the
    order of its calls, never blocks and never raises. The bytes that may wait for a client are
    bounded: a message beyond the bound closes the connection, so that the client knows that it has
    missed something. Messages to a client whose connection is closed are discarded.
    """

    send: Callable[[bytes], None]
    id: str = field(default_factory=new_id)
    address: str = ""
    """Where the client comes from, for the log."""
    server: str = ""
    """The server to which it is connected, and which tells it who joins and leaves; empty for this
    one."""


@dataclass(frozen=True, slots=True)
class Room:
    """A room at one moment. Its clients are by their ids, in the order in which they joined.

    Rooms are values: joining or leaving gives another room, which the repository then stores. So a
    loop over the clients is safe even if one joins or leaves while it runs.
    """

    id: str
    clients: Mapping[str, Client] = field(default_factory=dict)

    def with_client(self, client: Client) -> "Room":
        """Return the room with the client in it; one that is in it already keeps its place."""
        return Room(self.id, {**self.clients, client.id: client})

    def without_client(self, client: Client) -> "Room":
        """Return the room without the client. Raises KeyError if it is not in it."""
        clients = dict(self.clients)
        del clients[client.id]
        return Room(self.id, clients)


def shown(room_id: str) -> str:
    """Return a room's name as a log record shows it: quoted, and with an ellipsis if it is cut."""
    return repr(room_id) if len(room_id) <= SHOWN else f"{room_id[:SHOWN]!r}…"
