"""The manager with fakes and without sockets: members of rooms, and what they are told."""

import pytest
from msgspec import Raw

from manager.room import NotInRoomError, RoomError, RoomFullError, RoomManager
from model.message import ClientIDPayload, IceCandidatePayload, Message, MessageType, SDPPayload
from repository.mem.room import RoomRepository
from repository.room import NotFoundError, RepositoryError
from tests.support.fakes import FailingRepository, FakeConnection, forbid_scans


@pytest.fixture
def repo() -> RoomRepository:
    return RoomRepository()


@pytest.fixture
def manager(repo: RoomRepository) -> RoomManager:
    return RoomManager(repo)


@pytest.fixture
def join(manager: RoomManager) -> "Join":
    return Join(manager)


class Join:
    """Makes a new client that has joined a room."""

    def __init__(self, manager: RoomManager) -> None:
        self.manager = manager

    def __call__(self, room_id: str) -> FakeConnection:
        connection = FakeConnection()
        self.manager.join_room(connection.client, room_id)
        return connection


def new_client(connection: FakeConnection) -> bytes:
    return Message(MessageType.NEW_CLIENT, ClientIDPayload(connection.client.id)).encode()


def leave_client(connection: FakeConnection) -> bytes:
    return Message(MessageType.LEAVE_CLIENT, ClientIDPayload(connection.client.id)).encode()


def test_members_are_told_of_a_newcomer_who_is_told_nothing(join: Join) -> None:
    first = join("r")
    second = join("r")
    third = join("r")
    assert first.received() == [new_client(second), new_client(third)]
    assert second.received() == [new_client(third)]
    assert third.received() == []


def test_other_rooms_are_told_nothing(join: Join) -> None:
    elsewhere = join("s")
    join("r")
    assert elsewhere.received() == []


def test_a_message_to_many_is_one_message(join: Join) -> None:
    first, second, _ = join("r"), join("r"), join("r")
    assert first.received()[-1] is second.received()[-1]


def test_a_full_room_takes_nobody(repo: RoomRepository) -> None:
    """Whoever wants to join it stays where it is; whoever is in it may join it again."""
    join = Join(RoomManager(repo, max_room_size=2))
    elsewhere, first, second = join("s"), join("r"), join("r")
    before = repo.get("r")
    with pytest.raises(RoomFullError):
        join.manager.join_room(elsewhere.client, "r")
    assert repo.get("r") is before
    assert list(repo.get("s").clients) == [elsewhere.client.id]
    first.received()
    join.manager.join_room(second.client, "r")
    assert first.received() == [new_client(second)]
    join.manager.leave_room(first.client)
    join.manager.join_room(elsewhere.client, "r")
    assert second.received() == [leave_client(first), new_client(elsewhere)]


def test_joining_again_is_told_again(manager: RoomManager, join: Join) -> None:
    first, second = join("r"), join("r")
    first.received()
    manager.join_room(second.client, "r")
    manager.join_room(second.client, "r")
    assert first.received() == [new_client(second)] * 2
    assert second.received() == []
    assert list(manager.get_room_by_client_id(first.client.id).clients) == [
        first.client.id,
        second.client.id,
    ]


def test_joining_another_room_leaves_the_first(manager: RoomManager, join: Join) -> None:
    first, elsewhere, mover = join("r"), join("s"), join("r")
    first.received()
    manager.join_room(mover.client, "s")
    assert first.received() == [leave_client(mover)]
    assert elsewhere.received() == [new_client(mover)]
    assert manager.get_room_by_client_id(mover.client.id).id == "s"


def test_leaving_is_told_to_those_who_remain(manager: RoomManager, join: Join) -> None:
    first, second, third = join("r"), join("r"), join("r")
    for connection in (first, second, third):
        connection.received()
    manager.leave_room(second.client)
    assert first.received() == third.received() == [leave_client(second)]
    assert second.received() == []


def test_the_last_to_leave_takes_the_room_along(
    manager: RoomManager, repo: RoomRepository, join: Join
) -> None:
    first, second = join("r"), join("r")
    manager.leave_room(first.client)
    assert repo.get("r")
    manager.leave_room(second.client)
    with pytest.raises(NotFoundError):
        repo.get("r")


def test_leaving_twice_is_refused_and_told_once(manager: RoomManager, join: Join) -> None:
    first, second = join("r"), join("r")
    first.received()
    manager.leave_room(second.client)
    with pytest.raises(NotInRoomError, match=second.client.id):
        manager.leave_room(second.client)
    assert first.received() == [leave_client(second)]


def test_offers_and_answers_are_passed_on_with_their_sender(
    manager: RoomManager, join: Join
) -> None:
    first, second, third = join("r"), join("r"), join("r")
    for connection in (first, second, third):
        connection.received()
    manager.transfer_sdp_offer(first.client, SDPPayload(second.client.id, Raw(b'"o"')))
    manager.transfer_sdp_answer(second.client, SDPPayload(first.client.id, Raw(b'"a"')))
    assert second.received() == [
        Message(MessageType.SDP_OFFER, SDPPayload(first.client.id, Raw(b'"o"'))).encode()
    ]
    assert first.received() == [
        Message(MessageType.SDP_ANSWER, SDPPayload(second.client.id, Raw(b'"a"'))).encode()
    ]
    assert third.received() == []


def test_candidates_are_passed_on_whole(manager: RoomManager, join: Join) -> None:
    first, second = join("r"), join("r")
    manager.transfer_ice_candidate(
        first.client, IceCandidatePayload("c", second.client.id, 0, "audio", "ufrag")
    )
    candidate = IceCandidatePayload("c", first.client.id, 0, "audio", "ufrag")
    assert second.received() == [Message(MessageType.ICE_CANDIDATE, candidate).encode()]


def test_a_client_can_address_itself(manager: RoomManager, join: Join) -> None:
    alone = join("r")
    manager.transfer_sdp_offer(alone.client, SDPPayload(alone.client.id, Raw(b'"o"')))
    assert alone.received() == [
        Message(MessageType.SDP_OFFER, SDPPayload(alone.client.id, Raw(b'"o"'))).encode()
    ]


def test_nothing_is_passed_on_between_rooms(manager: RoomManager, join: Join) -> None:
    sender, elsewhere = join("r"), join("s")
    with pytest.raises(NotInRoomError, match="not in room 'r'"):
        manager.transfer_sdp_offer(sender.client, SDPPayload(elsewhere.client.id, Raw(b'"o"')))
    assert elsewhere.received() == []


def test_nothing_is_passed_on_for_a_client_in_no_room(manager: RoomManager, join: Join) -> None:
    member, outsider = join("r"), FakeConnection()
    for transfer in (manager.transfer_sdp_offer, manager.transfer_sdp_answer):
        with pytest.raises(NotInRoomError, match=outsider.client.id):
            transfer(outsider.client, SDPPayload(member.client.id, Raw(b'"x"')))
    with pytest.raises(NotInRoomError, match=outsider.client.id):
        manager.transfer_ice_candidate(outsider.client, IceCandidatePayload("c", member.client.id))
    assert member.received() == []


def test_a_client_is_found_while_it_is_in_a_room(manager: RoomManager, join: Join) -> None:
    member = join("r").client
    assert manager.get_client_by_id(member.id) is member
    manager.leave_room(member)
    with pytest.raises(NotInRoomError, match=member.id):
        manager.get_client_by_id(member.id)


def test_a_member_that_leaves_while_being_told_disturbs_nobody(
    manager: RoomManager, join: Join
) -> None:
    first, second, third = join("r"), join("r"), join("r")
    leaves = FakeConnection()
    leaves.client = type(leaves.client)(lambda message: manager.leave_room(leaves.client))
    manager.join_room(leaves.client, "r")
    for connection in (first, second, third):
        connection.received()
    newcomer = join("r")
    for connection in (first, second, third):
        assert set(connection.received()) == {new_client(newcomer), leave_client(leaves)}
    assert newcomer.received() == [leave_client(leaves)]


def test_nothing_is_looked_for_among_all_rooms(
    manager: RoomManager, repo: RoomRepository, join: Join
) -> None:
    """Joining, moving, relaying and leaving do not depend on how many rooms there are."""
    first, second, elsewhere = join("r"), join("r"), join("s")
    first.received()
    forbid_scans(repo)
    manager.transfer_sdp_offer(first.client, SDPPayload(second.client.id, Raw(b'"o"')))
    manager.transfer_sdp_answer(second.client, SDPPayload(first.client.id, Raw(b'"a"')))
    manager.transfer_ice_candidate(first.client, IceCandidatePayload("c", second.client.id))
    assert (len(first.received()), len(second.received())) == (1, 2)
    with pytest.raises(NotInRoomError):
        manager.transfer_sdp_offer(first.client, SDPPayload(elsewhere.client.id, Raw(b'"o"')))
    assert manager.get_client_by_id(first.client.id) is first.client
    manager.join_room(elsewhere.client, "r")
    manager.leave_room(second.client)
    join("s")
    assert first.received() == [new_client(elsewhere), leave_client(second)]


# What an operator reads


@pytest.mark.parametrize(
    ("room_id", "shown"),
    [
        ("r", "'r'"),
        ("a\nb", r"'a\nb'"),
        ("é" * 64, f"'{'é' * 64}'"),
        ("é" * 65, f"'{'é' * 64}'…"),
        ("x" * 100_000, f"'{'x' * 64}'…"),
    ],
    ids=range(5),
)
def test_records_name_the_room_and_who_comes_from_where(
    manager: RoomManager, caplog: pytest.LogCaptureFixture, room_id: str, shown: str
) -> None:
    """Of a room's name they have 64 characters. An error, which can be logged too, has no more."""
    caplog.set_level("INFO")
    member, outsider = FakeConnection().client, FakeConnection().client
    manager.join_room(member, room_id)
    with pytest.raises(NotInRoomError) as refused:
        manager.transfer_sdp_offer(member, SDPPayload(outsider.id, Raw(b'"o"')))
    manager.leave_room(member)
    assert caplog.messages == [
        f"client {member.id} at 192.0.2.1 joined room {shown}",
        f"client {member.id} left room {shown}",
    ]
    assert str(refused.value) == f"addressee is not in room {shown}"


# An error changes nothing


class Faulty:
    """A client in no room, alone in one or with others, and a repository that fails.

    `before` has all rooms with their members in order, and the room of each member.
    """

    def __init__(self, place: str) -> None:
        self.repo = FailingRepository()
        self.manager = RoomManager(self.repo)
        join = Join(self.manager)
        self.connections = [join("there")]
        if place == "in company":
            self.connections.append(join("here"))
        self.client = FakeConnection() if place == "nowhere" else join("here")
        self.connections.append(self.client)
        for connection in self.connections:
            connection.received()
        self.before = self.state()
        self.repo.calls.clear()

    def state(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        rooms = self.repo.rooms
        return (
            {room.id: list(room.clients) for room in rooms._rooms.values()},
            dict(rooms._room_ids),
        )

    def act(self, action: str) -> None:
        if action == "leave":
            self.manager.leave_room(self.client.client)
        else:
            self.manager.join_room(self.client.client, action.removeprefix("join "))

    def check_that_nothing_changed(self) -> None:
        assert self.state() == self.before
        assert [connection.received() for connection in self.connections] == [[]] * len(
            self.connections
        )


ACTIONS = ["join here", "join there", "join elsewhere", "leave"]
PLACES = ["alone", "in company", "nowhere"]
CASES = [(action, place) for action in ACTIONS for place in PLACES]
CASES.remove(("leave", "nowhere"))


@pytest.mark.parametrize("error", [RepositoryError("down"), RuntimeError("a mistake")], ids=repr)
@pytest.mark.parametrize(("action", "place"), CASES)
def test_when_the_repository_fails_nothing_changes(
    action: str, place: str, error: Exception
) -> None:
    """Whichever of its calls fails, nobody is told anything, and no room is left over."""
    works = Faulty(place)
    works.act(action)
    for number in range(len(works.repo.calls)):
        fails = Faulty(place)
        fails.repo.fails_at, fails.repo.error = number, error
        expected = RoomError if isinstance(error, RepositoryError) else type(error)
        with pytest.raises(expected) as raised:
            fails.act(action)
        assert error in (raised.value, raised.value.__cause__)
        fails.check_that_nothing_changed()
        fails.act(action)  # It can be done again.


@pytest.mark.parametrize("method", ["get", "create", "update", "delete", "get_by_client_id"])
@pytest.mark.parametrize(("action", "place"), CASES)
def test_when_a_method_of_the_repository_is_broken_nothing_changes(
    action: str, place: str, method: str
) -> None:
    """The exception is an empty room that cannot be deleted, to which a lone client was to move."""
    faulty = Faulty(place)
    faulty.repo.broken = method
    try:
        faulty.act(action)
    except RoomError:
        if (method, action, place) == ("delete", "join elsewhere", "alone"):
            faulty.before[0]["elsewhere"] = []
        faulty.check_that_nothing_changed()
    else:
        assert method not in faulty.repo.calls
