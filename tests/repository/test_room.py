"""The contract of `repository.room.Room`, which every implementation keeps."""

from collections.abc import Callable

import pytest

from model.room import Client, Room
from repository.mem.room import RoomRepository
from repository.room import AlreadyExistsError, NotFoundError
from repository.room import Room as Repository
from tests.support.fakes import FakeConnection, forbid_scans

IMPLEMENTATIONS: list[Callable[[], Repository]] = [RoomRepository]


@pytest.fixture(params=IMPLEMENTATIONS)
def repo(request: pytest.FixtureRequest) -> Repository:
    made: Repository = request.param()
    return made


def client() -> Client:
    return FakeConnection().client


def test_a_room_is_found_by_its_id(repo: Repository) -> None:
    room = Room("r")
    assert repo.create(room) == room
    assert repo.get("r") == room


def test_ids_are_compared_by_code_points(repo: Repository) -> None:
    for room_id in ("", " ", "é", "e\u0301", "É"):
        repo.create(Room(room_id))
    assert repo.get("e\u0301").id == "e\u0301"


def test_a_room_that_was_not_created_is_not_found(repo: Repository) -> None:
    repo.create(Room("other"))
    with pytest.raises(NotFoundError, match="'r'"):
        repo.get("r")


def test_a_room_is_not_created_twice(repo: Repository) -> None:
    member = client()
    first = repo.create(Room("r").with_client(member))
    with pytest.raises(AlreadyExistsError, match="'r'"):
        repo.create(Room("r"))
    assert repo.get("r") == first
    assert repo.get_by_client_id(member.id) == first


def test_a_room_is_found_by_each_member(repo: Repository) -> None:
    first, second, third = client(), client(), client()
    repo.create(Room("r").with_client(first))
    repo.create(Room("s").with_client(third))
    room = repo.update(repo.get("r").with_client(second))
    assert repo.get_by_client_id(first.id) == room
    assert repo.get_by_client_id(second.id) == room
    assert repo.get_by_client_id(third.id).id == "s"


def test_a_former_member_is_in_no_room(repo: Repository) -> None:
    stays, leaves = client(), client()
    room = repo.create(Room("r").with_client(stays).with_client(leaves))
    repo.update(room.without_client(leaves))
    assert repo.get_by_client_id(stays.id).clients.keys() == {stays.id}
    with pytest.raises(NotFoundError, match=leaves.id):
        repo.get_by_client_id(leaves.id)


def test_what_was_read_does_not_change(repo: Repository) -> None:
    first, second = client(), client()
    before = repo.create(Room("r").with_client(first))
    repo.update(before.with_client(second))
    assert before.clients.keys() == {first.id}


def test_changing_a_room_value_alone_changes_nothing(repo: Repository) -> None:
    member = client()
    repo.create(Room("r")).with_client(member)
    assert not repo.get("r").clients


def test_a_room_that_was_not_created_is_not_updated(repo: Repository) -> None:
    member = client()
    with pytest.raises(NotFoundError, match="'r'"):
        repo.update(Room("r").with_client(member))
    with pytest.raises(NotFoundError):
        repo.get_by_client_id(member.id)


def test_a_deleted_room_is_not_found_by_id_or_member(repo: Repository) -> None:
    member = client()
    repo.create(Room("r").with_client(member))
    repo.delete("r")
    with pytest.raises(NotFoundError):
        repo.get("r")
    with pytest.raises(NotFoundError):
        repo.get_by_client_id(member.id)
    repo.create(Room("r"))


def test_a_room_that_was_not_created_is_not_deleted(repo: Repository) -> None:
    with pytest.raises(NotFoundError, match="'r'"):
        repo.delete("r")


def test_no_room_in_memory_is_looked_for_among_all() -> None:
    """No method goes through all rooms or clients."""
    repo = RoomRepository()
    member, other = client(), client()
    repo.create(Room("r").with_client(member))
    repo.create(Room("s").with_client(other))
    forbid_scans(repo)
    assert repo.get("r").id == repo.get_by_client_id(member.id).id == "r"
    for missing in ("", "t"):
        with pytest.raises(NotFoundError):
            repo.get(missing)
        with pytest.raises(NotFoundError):
            repo.get_by_client_id(missing)
    room = repo.update(repo.create(Room("t")).with_client(client()))
    repo.update(room.without_client(next(iter(room.clients.values()))))
    repo.delete("t")
    with pytest.raises(NotFoundError):
        repo.get("t")
