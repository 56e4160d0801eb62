"""How connections get from one process to another; here both ends are in the test's own process."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.waiting import until
from workers.post import HEADER, PIECE, Inbox, Post, inboxes


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


@pytest.mark.parametrize("size", [0, PIECE - 100, PIECE, 1 << 20])
async def test_a_connection_arrives(both: list[Inbox], size: int) -> None:
    """It is another descriptor of the same socket, and what was said of it may be long."""
    taken = asyncio.Queue[tuple[socket.socket, object]]()
    Post(both, 1).receive(lambda sock, what: taken.put_nowait((sock, what)))
    here, there = connection()
    Post(both, 0).send(1, 0.0, here, ("of", b"x" * size))
    sock, what = await taken.get()
    assert what == ("of", b"x" * size)
    assert here.fileno() == -1
    with sock, there:
        there.send(b"hello")
        assert sock.recv(5) == b"hello"
    asyncio.get_running_loop().remove_reader(both[1][0])


async def test_what_does_not_fit_waits(both: list[Inbox]) -> None:
    """An inbox takes a few connections. Of the rest, the one comes first that was due first."""
    taken: list[int] = []
    with ExitStack() as stack:
        post = Post(both, 0)
        for number in range(1000):
            here, there = connection()
            stack.enter_context(there)
            post.send(1, -float(number // 2), here, (number, b"x" * 100))

        def take(sock: socket.socket, what: tuple[int, bytes]) -> None:
            sock.close()
            taken.append(what[0])

        Post(both, 1).receive(take)
        await until(lambda: len(taken) == 1000)
    few = taken.index(998)
    assert few < 50
    assert taken[:few] == list(range(few))
    assert taken[few:] == sorted(range(few, 1000), key=lambda number: (-(number // 2), number))
    asyncio.get_running_loop().remove_reader(both[1][0])


async def test_what_is_long_comes_from_several_at_once(both: list[Inbox]) -> None:
    """It comes in pieces, among those of others."""
    taken: list[bytes] = []
    with ExitStack() as stack:
        for sender in (0, 1):
            # A descriptor of its own, as another process has.
            here, there = both[0][0], stack.enter_context(both[0][1].dup())
            post = Post([(here, there)] * 2, sender)
            for _ in range(3):
                here, there = connection()
                stack.enter_context(there)
                post.send(0, 0.0, here, b"%d" % sender * 10 * PIECE)

        def take(sock: socket.socket, what: bytes) -> None:
            sock.close()
            taken.append(what)

        Post(both, 0).receive(take)
        await until(lambda: len(taken) == 6)
    assert sorted(taken) == [b"%d" % sender * 10 * PIECE for sender in (0, 0, 0, 1, 1, 1)]
    asyncio.get_running_loop().remove_reader(both[0][0])


async def test_its_sender_dies(both: list[Inbox]) -> None:
    """What it has begun is left out when its successor sends something."""
    taken = asyncio.Queue[object]()
    both[1][1].send(HEADER.pack(0, 0, False) + b"x" * PIECE)

    def take(sock: socket.socket, what: object) -> None:
        sock.close()
        taken.put_nowait(what)

    Post(both, 1).receive(take)
    for text in ("short", "long" * PIECE, "short"):
        here, there = connection()
        with there:
            Post(both, 0).send(1, 0.0, here, text)
            assert await taken.get() == text
        both[1][1].send(HEADER.pack(0, 0, False) + b"x" * PIECE)
    asyncio.get_running_loop().remove_reader(both[1][0])


async def test_a_connection_that_could_not_be_opened(
    both: list[Inbox], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a descriptor, as when too many files are open, the next one is taken."""
    taken: list[object] = []
    both[1][1].send(HEADER.pack(0, 0, True) + b"what was said of it")
    here, there = connection()
    Post(both, 0).send(1, 0.0, here, "next")

    def take(sock: socket.socket, what: object) -> None:
        sock.close()
        taken.append(what)

    with caplog.at_level(logging.WARNING, "workers.post"):
        Post(both, 1).receive(take)
        await until(lambda: taken == ["next"])
    assert "too many open files" in caplog.text
    there.close()
    asyncio.get_running_loop().remove_reader(both[1][0])


async def test_its_addressee_dies(both: list[Inbox]) -> None:
    """What had begun to come cannot be taken any more, and is closed."""
    taken = asyncio.Queue[object]()
    half, lost = connection()
    rest = HEADER.pack(0, PIECE, True) + b"the rest"
    socket.send_fds(both[1][1], [rest], [half.fileno()])
    half.close()

    def take(sock: socket.socket, what: object) -> None:
        sock.close()
        taken.put_nowait(what)

    Post(both, 1).receive(take)
    here, there = connection()
    with lost, there:
        Post(both, 0).send(1, 0.0, here, "next")
        assert await taken.get() == "next"
        assert lost.recv(1) == b""
    asyncio.get_running_loop().remove_reader(both[1][0])


async def test_nobody_can_take_it(both: list[Inbox], caplog: pytest.LogCaptureFixture) -> None:
    """The connection is closed, so that its client knows."""
    both[1][0].close()
    here, there = connection()
    Post(both, 0).send(1, 0.0, here, "for nobody")
    assert there.recv(1) == b""
    there.close()
    assert "could not be handed over" in caplog.text
