"""Stand-ins for what is at the other side of an interface."""

from typing import Any, NoReturn

from model.room import Client, Room
from repository.mem.room import RoomRepository
from repository.room import RepositoryError
from repository.room import Room as Repository


class FakeConnection:
    """A client's connection that keeps what it is sent."""

    def __init__(self) -> None:
        self.client = Client(self.send)
        self.messages: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.messages.append(message)

    def received(self) -> list[bytes]:
        """What has come since the last call."""
        messages, self.messages = self.messages, []
        return messages


class FailingRepository(Repository):
    """Rooms in memory, and a connection to them that can fail."""

    def __init__(self) -> None:
        self.rooms = RoomRepository()
        self.calls: list[str] = []
        self.broken = ""
        """The name of a method that raises `error`."""
        self.fails_at = -1
        """The number in `calls` of the one call that raises `error`."""
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
    """A dict whose entries can be looked up, but not gone through."""

    def _refuse(self, *_: object) -> NoReturn:
        raise AssertionError("goes through all entries")

    __iter__ = __reversed__ = keys = values = items = copy = __or__ = __ror__ = __eq__ = _refuse


def forbid_scans(repo: RoomRepository) -> None:
    """Makes going through all its rooms, or all their clients, an error."""
    dicts = {name: value for name, value in vars(repo).items() if isinstance(value, dict)}
    assert dicts
    for name, value in dicts.items():
        setattr(repo, name, Unscannable(value))
