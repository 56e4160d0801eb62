"""What members of a room do and hear, whichever server each of them is on."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import combinations, count
from typing import Self

from tests.support.client import TIME_LIMIT, ClosedError, http
from tests.support.peer import Peer, error, failed, leave_client, new_client, offer
from tests.support.server_process import ServerProcess
from tests.support.waiting import until

JOIN_FAILED = error("failed to join room")

FULL_SDP = "v=0\r\n".ljust(7300, "x")
"""As long as an offer of a browser with audio, video and a data channel."""

_markers = count()


async def members(
    connect: Callable[..., Awaitable[Peer]], room: str, *servers: ServerProcess
) -> list[Peer]:
    """Make a new member of a room on each server, of which the earlier ones have been told."""
    peers: list[Peer] = []
    for server in servers:
        newcomer = await connect(server, room)
        for peer in peers:
            assert await peer.receive() == new_client(newcomer)
        peers.append(newcomer)
    return peers


async def heard(*peers: Peer) -> list[list[str]]:
    """Return what each of these members of a room has received so far.

    Each sends a marker to all, itself included. What a server was told of before it came to send
    its marker, or was passed on by it, has arrived at each member when the markers have.
    """
    sdp = f"marker-{next(_markers)}"
    markers = {offer(peer, sdp) for peer in peers}

    async def until_all(peer: Peer) -> list[str]:
        texts: list[str] = []
        missing = set(markers)
        while missing:
            text = await peer.receive()
            if text in missing:
                missing.discard(text)
            else:
                texts.append(text)
        return texts

    for peer in peers:
        for other in peers:
            await peer.say("offer", client_id=other.id, sdp=sdp)
    return await asyncio.gather(*map(until_all, peers))


async def relays(sender: Peer, receiver: Peer, sdp: str = "x") -> None:
    """Check that an offer arrives, and is the next thing that does."""
    await sender.say("offer", client_id=receiver.id, sdp=sdp)
    assert await receiver.receive() == offer(sender, sdp)


async def reaches(sender: Peer, receiver: Peer) -> list[str]:
    """Return what the receiver has received before an offer that the sender sends now.

    This comes before `heard` where members are there anew: whoever was told of somebody can reach
    it, and can be reached in turn when its message has arrived.
    """
    sdp = f"marker-{next(_markers)}"
    await sender.say("offer", client_id=receiver.id, sdp=sdp)
    texts: list[str] = []
    while (text := await receiver.receive()) != offer(sender, sdp):
        texts.append(text)
    return texts


class Told:
    """What members of a room have been told, taken down as it comes.

    Those of one group are on one server. A test that is about one of these does not receive
    anything on their connections itself.
    """

    def __init__(self, *groups: Sequence[Peer]) -> None:
        self._groups = groups
        self.peers = [peer for group in groups for peer in group]
        self._texts: dict[Peer, list[str]] = {peer: [] for peer in self.peers}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._listen(peer)) for peer in self.peers]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, peer: Peer) -> None:
        peer.time_limit = 60
        with suppress(ClosedError):
            while True:
                text = await peer.receive()
                self[peer].append(text)

    def __getitem__(self, peer: Peer) -> list[str]:
        return self._texts[peer]

    def take(self, peer: Peer, text: str) -> int:
        """Take a text out as often as it is there; return how often."""
        times = self[peer].count(text)
        for _ in range(times):
            self[peer].remove(text)
        return times

    async def reach(self, sender: Peer, receiver: Peer) -> None:
        """Wait until an offer that is sent now has arrived, and forget it."""
        sdp = f"marker-{next(_markers)}"
        await sender.say("offer", client_id=receiver.id, sdp=sdp)
        await until(lambda: self.take(receiver, offer(sender, sdp)) > 0)

    async def fail_to_reach(self, sender: Peer, receiver: Peer) -> None:
        """Wait until an offer that is sent now has come back as an error."""
        await sender.say("offer", client_id=receiver.id, sdp="x")
        await until(lambda: self.take(sender, failed("offer")) == 1)

    async def all_reach_all(self) -> None:
        for sender in self.peers:
            for receiver in self.peers:
                await self.reach(sender, receiver)

    async def nothing(self) -> None:
        """Check that all reach all, and that nobody is told anything else."""
        await self.all_reach_all()
        assert list(self._texts.values()) == [[] for _ in self.peers]

    async def meet(self, one: Peer, other: Peer) -> None:
        """Wait until one of two has been told of the other, and has reached it.

        The other one can reach it in turn then, since its server knows of it too.
        """
        met = new_client(other), new_client(one)
        await until(lambda: met[0] in self[one] or met[1] in self[other])
        first, second = (one, other) if met[0] in self[one] else (other, one)
        await self.reach(first, second)

    async def meet_again(self, besides: Sequence[Peer] = ()) -> None:
        """Check that those on different servers are made known to each other anew, and no others.

        Each is told once that the other has left; then exactly one is told of the other. What they
        are told of those in `besides` does not matter.
        """
        strangers = [
            (one, other)
            for group, another in combinations(self._groups, 2)
            for one in group
            for other in another
        ]
        for one, other in strangers:
            await self.meet(one, other)
        await self.all_reach_all()
        for one, other in strangers:
            heard = [
                [text for text in self[peer] if another.id in text]
                for peer, another in ((one, other), (other, one))
            ]
            assert heard in (
                [[leave_client(other), new_client(other)], [leave_client(one)]],
                [[leave_client(other)], [leave_client(one), new_client(one)]],
            )
            for text in (leave_client(other), new_client(other)):
                self.take(one, text)
            for text in (leave_client(one), new_client(one)):
                self.take(other, text)
        for peer in self.peers:
            for other in besides:
                self.take(peer, new_client(other))
        assert list(self._texts.values()) == [[] for _ in self.peers]


async def two_and_one(
    connect: Callable[..., Awaitable[Peer]], room: str, one: ServerProcess, other: ServerProcess
) -> Told:
    """Let two clients on one server and one on another join a room."""
    first, second, third = await members(connect, room, one, one, other)
    return Told([first, second], [third])


async def status(server: ServerProcess, path: str) -> int:
    """Return the status of the response to a GET."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return (await http(server.url, request.encode())).status


async def is_ready(*servers: ServerProcess, ready: bool = True) -> None:
    """Wait until `/ready` says that the servers share their rooms, or that they do not."""
    expected = 200 if ready else 503
    async with asyncio.timeout(TIME_LIMIT):
        for server in servers:
            while await status(server, "/ready") != expected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def looking(lease: float) -> None:
    """Wait until servers look for dead ones: when they have reached Redis for a whole lease."""
    await asyncio.sleep(lease * 1.5)


async def gone(peers: Sequence[Peer]) -> None:
    """End the connections of clients."""
    for peer in peers:
        peer.abort()
    # The transports close their sockets in the next iteration of the loop.
    await asyncio.sleep(0)
