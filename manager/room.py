"""Who is in which room, and who is told what (manager/room.go).

Every method is a plain `def`, called on the event loop's thread, and awaits nothing. So each call
is atomic: of two clients that join a new room at once, one is first and is told of the other.
"""

import logging
from contextlib import ExitStack

from model.message import SDP, ClientID, IceCandidate, Message, MessageType
from model.room import Client, Room
from repository.room import NotFoundError
from repository.room import Room as RoomRepository

logger = logging.getLogger(__name__)


class RoomManager:
    """Lets clients join and leave rooms, and passes messages on between the members of a room.

    Apart from the NotFoundError that each method names, raises what the repository raises. Then
    nothing has changed and nobody was told anything, as long as what was changed before can be
    changed back.
    """

    def __init__(self, room_repo: RoomRepository) -> None:
        self._room_repo = room_repo

    def join_room(self, client: Client, room_id: str) -> None:
        """Adds the client to the room, creating it if necessary, and tells the other members.

        A client that is in another room leaves that one first. Joining the same room again changes
        nothing, but the others are told again.
        """
        try:
            before = self.get_room_by_client_id(client.id)
        except NotFoundError:
            before = None
        if before is not None and before.id == room_id:
            self._notify_new_client(before, client)
            return

        with ExitStack() as undo:
            try:
                room = self._room_repo.get(room_id)
            except NotFoundError:
                room = self._room_repo.create(Room(room_id))
                undo.callback(self._room_repo.delete, room_id)
            if before is not None:
                after = self._take_out(before, client)
                undo.callback(self._put_back, before, after)
            room = self._room_repo.update(room.with_client(client))
            undo.pop_all()
        if before is not None:
            self._has_left(after, client)
        logger.info("client %s joined room %r", client.id, room_id)
        self._notify_new_client(room, client)

    def leave_room(self, client: Client) -> None:
        """Takes the client out of its room and tells the remaining members.

        Deletes the room if it is empty then. Raises NotFoundError when the client is in no room.
        """
        room = self._take_out(self.get_room_by_client_id(client.id), client)
        self._has_left(room, client)

    def _take_out(self, room: Room, client: Client) -> Room:
        room = room.without_client(client)
        if room.clients:
            self._room_repo.update(room)
        else:
            self._room_repo.delete(room.id)
        return room

    def _put_back(self, before: Room, after: Room) -> None:
        """Undoes `_take_out`."""
        if after.clients:
            self._room_repo.update(before)
        else:
            self._room_repo.create(before)

    def _has_left(self, room: Room, client: Client) -> None:
        logger.info("client %s left room %r", client.id, room.id)
        self._notify_leave_client(room, client)

    def _notify_new_client(self, room: Room, new_client: Client) -> None:
        self._notify(room, MessageType.NEW_CLIENT, new_client)

    def _notify_leave_client(self, room: Room, leaving_client: Client) -> None:
        self._notify(room, MessageType.LEAVE_CLIENT, leaving_client)

    def _notify(self, room: Room, message_type: MessageType, about: Client) -> None:
        message = Message(message_type, ClientID(about.id)).encode()
        for client in room.clients.values():
            if client is not about:
                client.send(message)

    def get_client_by_id(self, client_id: str) -> Client:
        """A client that is in a room. Raises NotFoundError."""
        return self.get_room_by_client_id(client_id).clients[client_id]

    def get_room_by_client_id(self, client_id: str) -> Room:
        """The room that the client is in. Raises NotFoundError."""
        return self._room_repo.get_by_client_id(client_id)

    def transfer_sdp_offer(self, sender: Client, sdp: SDP) -> None:
        """Passes the offer on to the member of the sender's room that it names.

        Like the other two transfers: raises NotFoundError when the sender is in no room or the
        addressee not in it; from one sender to one addressee, messages keep their order; a sender
        may address itself.
        """
        self._transfer(
            sender, sdp.client_id, Message(MessageType.SDP_OFFER, SDP(sender.id, sdp.sdp))
        )

    def transfer_sdp_answer(self, sender: Client, sdp: SDP) -> None:
        """Passes the answer on; see `transfer_sdp_offer`."""
        self._transfer(
            sender, sdp.client_id, Message(MessageType.SDP_ANSWER, SDP(sender.id, sdp.sdp))
        )

    def transfer_ice_candidate(self, sender: Client, ice_candidate: IceCandidate) -> None:
        """Passes the candidate on; see `transfer_sdp_offer`."""
        payload = IceCandidate(
            ice_candidate.candidate,
            sender.id,
            ice_candidate.sdpMLineIndex,
            ice_candidate.sdpMid,
            ice_candidate.usernameFragment,
        )
        self._transfer(sender, ice_candidate.client_id, Message(MessageType.ICE_CANDIDATE, payload))

    def _transfer(self, sender: Client, target_client_id: str, message: Message) -> None:
        room = self._room_repo.get_by_client_id(sender.id)
        target_client = room.clients.get(target_client_id)
        if target_client is None:
            raise NotFoundError(f"addressee is not in room {room.id!r}")
        target_client.send(message.encode())
