"""Rooms are values, and clients have ids that sort by their age."""

import re

import pytest

from model.room import Client, Room


def client() -> Client:
    return Client(lambda message: None)


def test_a_client_id_is_an_xid() -> None:
    ids = [client().id for _ in range(1000)]
    assert all(re.fullmatch("[0-9a-v]{20}", id_) for id_ in ids)
    assert ids == sorted(set(ids))


def test_coming_and_going_make_another_room() -> None:
    first, second = client(), client()
    room = Room("r").with_client(first).with_client(second)
    assert list(room.clients) == [first.id, second.id]
    assert list(room.without_client(first).clients) == [second.id]
    assert list(room.clients) == [first.id, second.id]


def test_who_is_no_member_cannot_go() -> None:
    with pytest.raises(KeyError):
        Room("r").without_client(client())
