"""The rooms in memory (repository/mem/room.go).

The original guards its map with a lock. Here only the event loop's thread calls, and no method
awaits, so no call sees another one half done.
"""

from model import room as model
from repository import room as repository


class RoomRepository(repository.Room):
    def __init__(self) -> None:
        self._rooms: dict[str, model.Room] = {}
        self._room_ids: dict[str, str] = {}  # by client id

    def get(self, room_id: str) -> model.Room:
        try:
            return self._rooms[room_id]
        except KeyError:
            raise repository.NotFoundError(f"no room {model.shown(room_id)}") from None

    def create(self, room: model.Room) -> model.Room:
        if room.id in self._rooms:
            raise repository.AlreadyExistsError(f"room {model.shown(room.id)} exists")
        self._rooms[room.id] = room
        self._room_ids.update(dict.fromkeys(room.clients, room.id))
        return room

    def update(self, room: model.Room) -> model.Room:
        before = self.get(room.id).clients
        self._rooms[room.id] = room
        for client_id in before.keys() - room.clients.keys():
            del self._room_ids[client_id]
        for client_id in room.clients.keys() - before.keys():
            self._room_ids[client_id] = room.id
        return room

    def delete(self, room_id: str) -> None:
        for client_id in self.get(room_id).clients:
            del self._room_ids[client_id]
        del self._rooms[room_id]

    def get_by_client_id(self, client_id: str) -> model.Room:
        try:
            return self._rooms[self._room_ids[client_id]]
        except KeyError:
            raise repository.NotFoundError(f"client {client_id!r} is in no room") from None
