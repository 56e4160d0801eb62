"""How connections get from one process to another; here both ends are in the test's own process."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.waiting import until
from workers.post import IN_LINE, Inbox, Post, inboxes


@pytest.fixture
def both() -> Iterator[list[Inbox]]:
    """Make two inboxes."""
    made = inboxes(2)
    with ExitStack() as stack:
        for end in (end for pair in made for end in pair):
            stack.enter_context(end)
        yield made


def connection() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


@pytest.mark.parametrize("size", [0, IN_LINE - 100, IN_LINE, 3 << 20])
async def test_a_connection_arrives(both: list[Inbox], size: int) -> None:
    """It is another descriptor of the same socket, and what was said of it may be long."""
    taken = asyncio.Queue[tuple[socket.socket, object]]()
    Post(both, 1).receive(lambda sock, what: taken.put_nowait((sock, what)))
    here, there = connection()
    Post(both, 0).send(1, here, ("of", b"x" * size))
    sock, what = await taken.get()
    assert what == ("of", b"x" * size)
    assert here.fileno() == -1
    with sock, there:
        there.send(b"hello")
        assert sock.recv(5) == b"hello"
    asyncio.get_running_loop().remove_reader(both[1][0])


async def test_what_does_not_fit_waits_in_order(both: list[Inbox]) -> None:
    """An inbox takes a few connections, and the rest when these are taken out."""
    taken: list[int] = []
    with ExitStack() as stack:
        post = Post(both, 0)
        for number in range(1000):
            here, there = connection()
            stack.enter_context(there)
            post.send(1, here, (number, b"x" * 1000))

        def take(sock: socket.socket, what: tuple[int, bytes]) -> None:
            sock.close()
            taken.append(what[0])

        Post(both, 1).receive(take)
        await until(lambda: len(taken) == 1000)
    assert taken == list(range(1000))
    asyncio.get_running_loop().remove_reader(both[1][0])


async def test_a_connection_that_could_not_be_opened(
    both: list[Inbox], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a descriptor, as when too many files are open, the next one is taken."""
    taken: list[object] = []
    both[1][1].send(b"what was said of it")
    here, there = connection()
    Post(both, 0).send(1, here, "next")

    def take(sock: socket.socket, what: object) -> None:
        sock.close()
        taken.append(what)

    with caplog.at_level(logging.WARNING, "workers.post"):
        Post(both, 1).receive(take)
        await until(lambda: taken == ["next"])
    assert "too many open files" in caplog.text
    there.close()
    asyncio.get_running_loop().remove_reader(both[1][0])


async def test_nobody_can_take_it(both: list[Inbox], caplog: pytest.LogCaptureFixture) -> None:
    """The connection is closed, so that its client knows."""
    both[1][0].close()
    here, there = connection()
    Post(both, 0).send(1, here, "for nobody")
    assert there.recv(1) == b""
    there.close()
    assert "could not be handed over" in caplog.text


def test_a_worker_does_not_send_to_itself(both: list[Inbox]) -> None:
    here, there = connection()
    with here, there, pytest.raises(ValueError, match="itself"):
        Post(both, 0).send(0, here, "for me")
