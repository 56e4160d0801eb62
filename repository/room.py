"""What the manager needs from whatever keeps the rooms (repository/room.go)."""

from abc import ABC, abstractmethod

from model import room as model


class RepositoryError(Exception):
    """The rooms could not be read or changed; nothing was changed."""


class NotFoundError(RepositoryError):
    """There is no such room, or no such client in it."""


class AlreadyExistsError(RepositoryError):
    """There is such a room already."""


class Room(ABC):
    """The rooms by their id, and the room that a client is in.

    Rooms are values (`model.room.Room`): what a method returns shows the room as it was then, and
    to change a room is to store another value under its id. A client is in one room at the most;
    the caller sees to that. No method waits. `get` and `get_by_client_id` take the same time
    however many rooms and members there are; the others, time in proportion to the room's members.
    """

    @abstractmethod
    def get(self, room_id: str) -> model.Room:
        """Return the room. Raises NotFoundError."""

    @abstractmethod
    def create(self, room: model.Room) -> model.Room:
        """Store a room under an id that has none yet. Raises AlreadyExistsError."""

    @abstractmethod
    def update(self, room: model.Room) -> model.Room:
        """Put the room in the place of the one with its id. Raises NotFoundError.

        From then on `get_by_client_id` finds it for its members alone.
        """

    @abstractmethod
    def delete(self, room_id: str) -> None:
        """Forget the room and who is in it. Raises NotFoundError."""

    @abstractmethod
    def get_by_client_id(self, client_id: str) -> model.Room:
        """Return the room that the client is in. Raises NotFoundError."""
