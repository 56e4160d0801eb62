"""The effects of a repository that fails on a client and its room, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tornado.httputil import HTTPServerRequest, RequestStartLine

from config.config import Config
from handler.handler import Handler, _address
from repository.room import RepositoryError
from tests.support.client import ABNORMAL, Client
from tests.support.fakes import FailingRepository
from tests.support.peer import KINDS, Peer, error, failed, leave_client, new_client
from tests.support.server_process import TRANSPORTS, Transport
from tests.support.signaling import Served, served
from tests.support.waiting import until

SECRET = "a=ice-pwd:xxxxxxxxxxxxxxxxxxxxxx"

DOWN = RepositoryError("the repository is down")
MISTAKE = RuntimeError("a mistake")

# The calls of the repository that a member causes, by the size of its room: when it moves to a new
# room, and when its connection has ended. Before them, it is counted who is to be told.
COUNT_MOVE = ["get_by_client_id", "get"]
MOVE = {
    1: [*COUNT_MOVE, "get_by_client_id", "get", "create", "delete", "update"],
    2: [*COUNT_MOVE, "get_by_client_id", "get", "create", "update", "update"],
}
COUNT_LEAVE = ["get_by_client_id"]
LEAVE = {
    1: [*COUNT_LEAVE, "get_by_client_id", "delete"],
    2: [*COUNT_LEAVE, "get_by_client_id", "update"],
}

on_both_transports = pytest.mark.parametrize("transport", TRANSPORTS)


def at_each_call(calls: dict[int, list[str]], count: list[str]) -> pytest.MarkDecorator:
    """Run a test for each of the calls, with the size of the room and the number of the call.

    Those of the count are left out: if it fails, so does what follows.
    """
    cases = {
        f"{size}-{number}-{method}": (size, number)
        for size, methods in calls.items()
        for number, method in enumerate(methods)
        if number >= len(count)
    }
    return pytest.mark.parametrize(("size", "number"), cases.values(), ids=cases)


class Here:
    """A room, with the client in it that is to fail, and the others."""

    def __init__(self, server: Served, repo: FailingRepository, members: list[Peer]) -> None:
        self.server = server
        self.repo = repo
        self.client, *self.others = members

    def fail(self, number: int, error: Exception) -> None:
        """Let one call fail: the one with this number, counted from now on."""
        self.repo.calls.clear()
        self.repo.fails_at, self.repo.error = number, error

    def rooms(self) -> dict[str, list[str]]:
        """Return the members' ids by room."""
        return {room.id: list(room.clients) for room in self.repo.rooms._rooms.values()}

    async def heard(self) -> list[list[str]]:
        """Return what each of the others has been sent, once it has been served again."""
        return [await other.received() for other in self.others]

    async def client_is_gone(self) -> None:
        await until(lambda: len(self.server.connections) == len(self.others))

    async def goes_on(self) -> None:
        """Check that somebody can join, and that the others are told of that and nothing else."""
        newcomer = await self.server.connect()
        await newcomer.join("here")
        assert await self.heard() == [[new_client(newcomer)]] * len(self.others)


@asynccontextmanager
async def here(transport: Transport, size: int) -> AsyncIterator[Here]:
    repo = FailingRepository()
    async with served(Config(transport=transport), repo) as server:
        yield Here(server, repo, await server.members("here", size))


@at_each_call(MOVE, COUNT_MOVE)
@on_both_transports
async def test_a_join_that_fails_changes_nothing(
    transport: Transport, size: int, number: int
) -> None:
    """The client is told and stays in its room, which hears nothing; it can try again."""
    async with here(transport, size) as room:
        before = room.rooms()
        room.fail(number, DOWN)
        await room.client.say("join", room_id="elsewhere")
        assert await room.client.receive() == error("failed to join room")
        assert room.repo.calls[: number + 1] == MOVE[size][: number + 1]
        assert await room.client.received() == []
        assert await room.heard() == [[]] * (size - 1)
        assert room.rooms() == before
        await room.client.join("elsewhere")
        assert await room.heard() == [[leave_client(room.client)]] * (size - 1)


@pytest.mark.parametrize("kind", KINDS)
@on_both_transports
async def test_a_message_that_cannot_be_passed_on(
    transport: Transport, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its sender is told, its addressee is not; the next one arrives. No log has its text."""
    caplog.set_level("DEBUG")
    async with here(transport, 2) as room:
        (other,) = room.others
        key = "candidate" if kind == "ice-candidate" else "sdp"
        room.fail(0, DOWN)
        await room.client.say(kind, **{"client_id": other.id, key: SECRET})
        assert await room.client.receive() == failed(kind)
        assert await room.heard() == [[]]
        await room.client.say(kind, **{"client_id": other.id, key: SECRET})
        assert SECRET in await other.receive()
    assert str(DOWN) in caplog.text
    assert SECRET not in caplog.text


@at_each_call(MOVE, COUNT_MOVE)
@on_both_transports
async def test_a_mistake_in_a_join_ends_the_connection(
    transport: Transport, size: int, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends without a close frame; the client's old room is told, and the log has a traceback."""
    async with here(transport, size) as room:
        room.fail(number, MISTAKE)
        await room.client.say("join", room_id="elsewhere")
        assert await room.client.closed() == ABNORMAL
        await room.client_is_gone()
        assert await room.heard() == [[leave_client(room.client)]] * (size - 1)
        assert room.rooms() == ({"here": [other.id for other in room.others]} if size > 1 else {})
        await room.goes_on()
    assert f"client {room.client.id} failed\nTraceback" in caplog.text
    assert str(MISTAKE) in caplog.text


@pytest.mark.parametrize("kind", KINDS)
@on_both_transports
async def test_a_mistake_in_passing_on_ends_the_connection(
    transport: Transport, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the sender's connection ends; no log has what was to be relayed."""
    caplog.set_level("DEBUG")
    async with here(transport, 2) as room:
        (other,) = room.others
        room.fail(0, MISTAKE)
        await room.client.say(kind, client_id=other.id, sdp=SECRET, candidate=SECRET)
        assert await room.client.closed() == ABNORMAL
        assert await other.receive() == leave_client(room.client)
        await room.goes_on()
    assert f"client {room.client.id} failed\nTraceback" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("failure", [DOWN, MISTAKE], ids=repr)
@at_each_call(LEAVE, COUNT_LEAVE)
@on_both_transports
async def test_a_client_that_goes_while_the_repository_fails(
    transport: Transport,
    size: int,
    number: int,
    failure: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its connection is over, and the log says what was wrong, but it stays in its room.

    The others are not told, and what they send to it is lost. They are served as before.
    """
    async with here(transport, size) as room:
        before = room.rooms()
        room.fail(number, failure)
        room.client.abort()
        await room.client_is_gone()
        assert room.repo.calls == LEAVE[size][: number + 1]
        assert room.rooms() == before
        for other in room.others:
            await other.say("offer", client_id=room.client.id, sdp="x")
        await room.goes_on()
    assert str(failure) in caplog.text
    # The repository's own failure is one line, which names the client.
    assert (f"client {room.client.id} could not leave" in caplog.text) == (failure is DOWN)
    assert ("Traceback" in caplog.text) == (failure is MISTAKE)


@pytest.mark.parametrize("failure", [DOWN, MISTAKE], ids=repr)
@on_both_transports
async def test_a_client_that_falls_behind_while_the_repository_fails(
    transport: Transport, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """It is closed all the same, and leaves its room when its connection has ended."""
    repo = FailingRepository()
    repo.error = failure
    async with served(Config(transport=transport, max_send_buffer=100_000), repo) as server:
        (talker,) = await server.members("room", 1)
        laggard = await server.connect(receive_buffer=4096)
        await laggard.join("room")
        assert await talker.receive() == new_client(laggard)
        laggard.stop_reading()
        repo.broken = "update"
        while str(failure) not in caplog.text:
            await talker.say("offer", client_id=laggard.id, sdp="x" * 50_000)
            assert await talker.received() == []
        repo.broken = ""
        laggard.resume_reading()
        _, code = await laggard.rest()
        assert code == 1013
        laggard.abort()
        assert await talker.receive() == leave_client(laggard)


@on_both_transports
async def test_the_record_of_a_join_has_the_address_of_the_client(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with served(Config(transport=transport)) as server:
        (member,) = await server.members("r", 1)
        assert f"client {member.id} at 127.0.0.1 joined room 'r'" in caplog.messages


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::ffff:1", "2001:db8::ffff:1"),
        ("::ffff:0:1:2", "::ffff:0:1:2"),
    ],
)
def test_an_ipv4_address_is_shown_as_one(address: str, shown: str) -> None:
    request = HTTPServerRequest(start_line=RequestStartLine("GET", "/connect", "HTTP/1.0"))
    request.remote_ip = address
    assert _address(request) == shown


@on_both_transports
async def test_a_connection_that_fails_before_it_has_a_client_names_none(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the traceback, and no id that nobody has been told."""

    def fail(*_: object) -> None:
        raise MISTAKE

    async with served(Config(transport=transport)) as server:
        monkeypatch.setattr(Handler, "set_nodelay", fail)
        client = await Client.connect(server.url)
        assert await client.closed() == ABNORMAL
        client.abort()
        await until(lambda: "a connection failed\nTraceback" in caplog.text)
        assert "client " not in caplog.messages[-1]
