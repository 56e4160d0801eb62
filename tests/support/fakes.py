"""Stand-ins for the other side of an interface."""

from typing import Any, NoReturn

from model.room import Client, Room
from repository.mem.room import RoomRepository
from repository.room import RepositoryError
from repository.room import Room as Repository


class FakeConnection:
    """A client's connection that keeps what it is sent."""

    def __init__(self) -> None:
        self.client = Client(self.send, address="192.0.2.1")
        self.messages: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.messages.append(message)

    def received(self) -> list[bytes]:
        """Return the messages that have come since the last call."""
        messages, self.messages = self.messages, []
        return messages


class FailingRepository(Repository):
    """Rooms in memory, behind a connection that can fail."""

    def __init__(self) -> None:
        self.rooms = RoomRepository()
        self.calls: list[str] = []
        self.broken = ""
        """The name of the method that raises `error`; "" for none."""
        self.fails_at = -1
        """The number in `calls` of the one call that raises `error`; -1 for none."""
        self.error: Exception = RepositoryError("the repository is down")

    def _call(self, method: str) -> None:
        self.calls.append(method)
        if method == self.broken or len(self.calls) - 1 == self.fails_at:
            raise self.error

    def get(self, room_id: str) -> Room:
        self._call("get")
        return self.rooms.get(room_id)

    def create(self, room: Room) -> Room:
        self._call("create")
        return self.rooms.create(room)

    def update(self, room: Room) -> Room:
        self._call("update")
        return self.rooms.update(room)

    def delete(self, room_id: str) -> None:
        self._call("delete")
        self.rooms.delete(room_id)

    def get_by_client_id(self, client_id: str) -> Room:
        self._call("get_by_client_id")
        return self.rooms.get_by_client_id(client_id)


class Unscannable(dict[str, Any]):
    """A dict whose entries can be looked up but not iterated over."""

    def _refuse(self, *_: object) -> NoReturn:
        raise AssertionError("goes through all entries")

    __iter__ = __reversed__ = keys = values = items = copy = __or__ = __ror__ = __eq__ = _refuse


def forbid_scans(repo: RoomRepository) -> None:
    """Make it an error to go through all rooms or all clients."""
    dicts = {name: value for name, value in vars(repo).items() if isinstance(value, dict)}
    assert dicts
    for name, value in dicts.items():
        setattr(repo, name, Unscannable(value))
