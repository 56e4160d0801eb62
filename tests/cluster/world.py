"""Servers and their clients, and what those are told."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from itertools import count
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

from msgspec import Raw

from handler.handler import undelivered
from manager.room import NotInRoomError, RoomError, RoomFullError
from model.message import IceCandidatePayload, SDPPayload
from model.room import Client
from repository.mem.room import RoomRepository
from services.clustering import ClusteringService
from services.redis_bus import RedisBus
from tests.cluster.network import Network, Port
from tests.cluster.virtual import Clock, VirtualLoop

LEASE = 3.0
PREFIX = "p"


class Event(NamedTuple):
    """Something that a client was told, or did."""

    time: float
    kind: str
    """`in` a room or in none, `anew`, `new`, `left`, `message`, `sent`, `error`."""
    who: str = ""
    """The other client; for `in` the room, for `error` the text."""
    number: int = 0
    """That of a message."""
    what: str = ""
    """The type of a message."""
    rooms: tuple[str, str] = ("", "")
    """The room in which a message was sent, and that in which the addressee is."""


class World:
    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        self.random = Random(seed)
        self._trace = trace
        self.clock = Clock()
        self.loop = VirtualLoop(self.clock)  # type: ignore[abstract]
        """That of Redis, the network and the faults: what is not a server."""
        self.network = Network(self.loop, self.random, self.log)
        self.redis = self.network.redis
        self.loops = [self.loop]
        """Those that turn, also of the servers that live."""
        self.servers: list[Server] = []
        self.clients: list[SimulatedClient] = []
        self.max_room_size = 0
        self._ids = count(1)

    def log(self, *what: object) -> None:
        if self._trace is not None:
            self._trace(f"{self.clock.now - 1_000_000:10.4f} {' '.join(map(str, what))}")

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.clock.now + seconds
        while True:
            dues = [loop.due() for loop in self.loops]
            due = min(dues)
            if due > end:
                break
            self.clock.now = max(self.clock.now, due)
            self.loops[dues.index(due)].turn()
        self.clock.now = end

    def close(self) -> None:
        for loop in (self.loop, *(server.loop for server in self.servers)):
            loop.end()

    @property
    def live_servers(self) -> "list[Server]":
        return [server for server in self.servers if server.lives]

    @property
    def steady_servers(self) -> "list[Server]":
        """Return those that are not about to stop."""
        return [server for server in self.live_servers if not server.stopping]

    def start_server(self) -> None:
        server = Server(self, f"s{len(self.servers)}")
        self.servers.append(server)
        self.log("start", server.name)

    def start_client(self, server: "Server") -> "SimulatedClient":
        client = SimulatedClient(server, f"c{next(self._ids)}")
        server.clients.append(client)
        self.clients.append(client)
        return client


class Server:
    """One process."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.lives = True
        self.stopping = False
        cost = partial(world.random.expovariate, 1 / 0.00002)
        self.loop = VirtualLoop(world.clock, cost)  # type: ignore[abstract]
        self.port = Port(name, world.network, self.loop)
        self.clients: list[SimulatedClient] = []
        self.names: list[str] = []
        """Those under which it has entered."""
        self.repo = RoomRepository()
        self.service: ClusteringService
        self.bus: RedisBus
        world.loops.append(self.loop)
        self.loop.call_soon(self._start)
        self.loop.turn()

    def _start(self) -> None:
        self.bus = RedisBus(self.port.make_link, PREFIX, LEASE / 2, bool)  # type: ignore[arg-type]
        self.service = SimulatedService(
            self,
            self.repo,
            self.bus,
            lease=LEASE,
            max_room_size=self.world.max_room_size,
            undelivered=undelivered,
            telling=lambda members: nullcontext(),
        )
        self.sharing = self.loop.create_task(self.service.run())
        self.sharing.add_done_callback(self._ended)

    def _ended(self, sharing: asyncio.Task[None]) -> None:
        if not sharing.cancelled():
            self.loop.failures.append(f"{self.name} shares no more: {sharing.exception()!r}")

    def entered(self, name: str) -> None:
        """Take note that it has taken another name."""
        self.names.append(name)
        for client in self.clients:
            client.note("anew")

    def pause(self) -> None:
        """Stop the process (SIGSTOP)."""
        self.world.log("pause", self.name)
        self.loop.paused = True

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self.world.log("resume", self.name)
        self.loop.paused = False

    def kill(self) -> None:
        self.world.log("kill", self.name)
        self._die()

    def _die(self) -> None:
        self.lives = False
        self.world.loops.remove(self.loop)
        for link in self.port.open_links():
            link.break_off(noticed=False)

    def stop(self) -> None:
        """Stop as server.py does (SIGTERM)."""
        self.world.log("stop", self.name)
        self.stopping = True
        self.loop.call_soon(lambda: self.loop.create_task(self._stop()))

    async def _stop(self) -> None:
        await self.service.leave_cluster()
        self.sharing.cancel()
        await asyncio.sleep(0)
        if self.lives:
            self._die()


class SimulatedService(ClusteringService):
    def __init__(self, server: Server, *args: Any, **options: Any) -> None:
        self._of = server
        super().__init__(*args, **options)

    def _enter(self, memory: str) -> None:
        super()._enter(memory)
        self._of.entered(self._server)


class SimulatedClient:
    """A client that tells what it sees, and the handler of its connection."""

    def __init__(self, server: Server, client_id: str) -> None:
        self.server = server
        self.world = server.world
        self.id = client_id
        self.client = Client(self._on_message, client_id)
        self.events: list[Event] = []
        self.room: str | None = None
        """The room in which it is, by what it was answered."""
        self.closed = False
        self.has_rejoined = False
        """Whether it has asked for the room in which it was."""
        self._messages = 0
        self._requests: asyncio.Queue[tuple[Callable[..., Any], str]] = asyncio.Queue()
        server.loop.call_soon(lambda: server.loop.create_task(self._handle()))

    @property
    def lives(self) -> bool:
        return self.server.lives and not self.closed

    # What it does, as soon as its server reads it

    def join(self, room_id: str) -> None:
        self._request(self._join, room_id)

    def send(self, to: "SimulatedClient") -> None:
        self._request(self._relay, to.id)

    def leave(self) -> None:
        """Close the connection after what it has sent."""
        self._request(lambda _: self._close(), "")

    def close(self) -> None:
        """Close the connection, whatever it waits for."""
        self.server.loop.call_soon(self._close)

    def _request(self, handle: Callable[..., Any], what: str) -> None:
        self.server.loop.call_soon(self._requests.put_nowait, (handle, what))

    # The handler

    async def _handle(self) -> None:
        while True:
            handle, what = await self._requests.get()
            if self.closed:
                return
            waiting = handle(what)
            if waiting is not None:
                await waiting

    async def _join(self, room_id: str) -> None:
        self.world.log(self, "asks for", room_id)
        self.has_rejoined |= room_id == self._look()
        try:
            await self.server.service.join_room(self.client, room_id)
        except RoomFullError:
            self.note("error", "full")
        except RoomError as error:
            self.note("error", f"join: {error}")
            self.room = None if self.closed else self._look()
        else:
            if not self.closed:
                self.room = room_id
        self._note_room()

    def _relay(self, to: str) -> None:
        service, number = self.server.service, self._messages + 1
        room = self._look()
        description = json.dumps([number, room]).encode()
        kind = self.world.random.randrange(3)
        try:
            if kind == 0:
                service.transfer_sdp_offer(self.client, SDPPayload(to, Raw(description)))
            elif kind == 1:
                service.transfer_sdp_answer(self.client, SDPPayload(to, Raw(description)))
            else:
                payload = IceCandidatePayload(description.decode(), to)
                service.transfer_ice_candidate(self.client, payload)
        except RoomError:
            return  # The sender is told at once.
        self._messages = number
        self.note("sent", to, number, ("offer", "answer", "ice candidate")[kind])

    def _close(self) -> None:
        if self.closed:
            return
        self.note("close")
        self.closed, self.room = True, None
        with suppress(NotInRoomError):
            self.server.service.leave_room(self.client)

    def _look(self) -> str | None:
        try:
            return self.server.service.get_room_by_client_id(self.id).id
        except NotInRoomError:
            return None

    # What it is told

    def _on_message(self, data: bytes) -> None:
        if self.closed:
            return
        self._note_room()
        message = json.loads(data)
        payload = message["payload"]
        match message["type"]:
            case "new-client":
                self.note("new", payload["client_id"])
            case "leave-client":
                self.note("left", payload["client_id"])
            case "error":
                self.note("error", payload["error"])
            case kind:
                sent = payload["sdp"] if "sdp" in payload else json.loads(payload["candidate"])
                rooms = (str(sent[1]), str(self._look()))
                self.note("message", payload["client_id"], sent[0], kind, rooms)

    def _note_room(self) -> None:
        """Take note of being in another room: a join is not answered at once."""
        room = self._look() or ""
        last = next((event.who for event in reversed(self.events) if event.kind == "in"), "")
        if room != last:
            self.note("in", room)

    def note(
        self,
        kind: str,
        who: str = "",
        number: int = 0,
        what: str = "",
        rooms: tuple[str, str] = ("", ""),
    ) -> None:
        event = Event(self.world.clock.now, kind, who, number, what, rooms)
        self.events.append(event)
        self.world.log(self, *filter(None, event[1:5]))

    def __str__(self) -> str:
        return f"{self.id} ({self.server.name})"


@contextmanager
def simulated(world: World) -> Iterator[None]:
    """Let the services take names and times from the world."""
    random = world.random

    with (
        patch("services.clustering.new_id", lambda: f"s{len(world.servers)}"),
        patch("services.clustering.perf_counter", lambda: world.clock.now + random.random() / 200),
        patch("services.clustering.KEPT", 60),
        patch("services.clustering.MAX_WAITING", random.choice([16 << 20, 16 << 20, 300])),
        patch("services.clustering.MAX_INBOX", random.choice([100_000, 100_000, 20])),
        patch("services.clustering.BATCH", random.choice([64 * 1024, 100])),
        patch("services.redis_bus.AT_ONCE", random.choice([128, 128, 3])),
        patch("services.redis_bus.uniform", random.uniform),
    ):
        yield
