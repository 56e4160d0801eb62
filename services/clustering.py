"""Many servers as one, over Redis or Valkey (services/clustering.go).

`ClusteringService` is a `RoomManager` whose rooms are those with members on this server. Members on
other servers are in them too, as clients whose `send` passes a message on to their server. So those
on one server talk to each other as without a cluster.

Who is in which room is decided by a script in Redis (clustering.lua). It writes what it did into
the inboxes of the servers concerned, and a join takes effect when it is read there. So for each
room, all servers see one order of joins. Each membership has a number, by which messages are
addressed: one that comes late cannot reach a later member of the same name.

A server has a lease, which it renews with a beat. When it has run out, another server takes it out
of all rooms. After that the server itself acts on nothing that it reads, until it knows whether it
still is one of the servers. If it is not, or if Redis has forgotten everything, it enters anew,
under another name: its clients are told that the members elsewhere have left, and then each pair
meets anew. docs/cluster.md has a diagram.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import msgspec
from msgspec import Raw

from manager.room import NotInRoomError, RoomError, RoomFullError, RoomManager
from model.message import MessageType
from model.room import Client, Room, new_id
from repository import room as repository
from services.redis_bus import OnReply, RedisBus, Reply

logger = logging.getLogger(__name__)

JOIN_TIMEOUT = 5.0
"""Seconds that a join waits for Redis."""
BYE_TIMEOUT = 1.0
"""Seconds that a server which stops waits for Redis."""
MAX_WAITING = 16 << 20
"""Bytes of messages that may wait for Redis. One beyond that comes back to its sender."""
BATCH = 64 * 1024
"""Bytes of messages that are sent at once, before the end of an iteration of the event loop."""
MAX_INBOX = 100_000
"""Entries that may wait for a server. One that is further behind has to enter anew."""
KEPT = 86400
"""Seconds for which Redis keeps what nobody has touched, as when the last server has crashed."""
TURN = 0.002
"""Seconds for which a server acts on entries before others have their turn."""


class UnavailableError(RoomError):
    """The other servers cannot be reached just now."""


@dataclass(slots=True, eq=False)
class _Ask:
    """A join that a client waits for."""

    client: Client
    room_id: str
    joined: "asyncio.Future[None]"
    timer: asyncio.TimerHandle
    number: int = 0
    """That of the call, the last one if there were several."""


_Posted = tuple[str, str, Raw]
"""A message, after the id and the number of the membership of its addressee. If it comes back to
its sender, these are empty."""

_decode = msgspec.json.Decoder(list[_Posted]).decode


class ClusteringService(RoomManager):
    """Manages rooms that are shared with other servers."""

    def __init__(
        self,
        room_repo: repository.Room,
        bus: RedisBus,
        *,
        lease: float,
        max_room_size: int,
        undelivered: Callable[[Client, MessageType], None],
        telling: Callable[[int], AbstractContextManager[None]],
    ) -> None:
        """Prepare; an event loop must be running.

        `undelivered` is called with the sender of a message that did not arrive after all, and with
        the type of that. `telling` returns the context in which so many members are told something.
        """
        super().__init__(room_repo)
        self._bus = bus
        self._lease = lease
        self._max_room_size = max_room_size
        self._undelivered = undelivered
        self._telling = telling
        self._loop = asyncio.get_running_loop()

        self._state = "out"  # Of the cluster; then `entering`, `in`, or `gone` for good.
        self._memory = self._server = ""  # The name of what Redis remembers, and of this server.
        self._process = new_id()  # What its names begin with.
        self._number = 0  # Of the last call.
        self._confirmed = 0.0  # When the last beat that was answered was sent.
        self._beating = False  # Whether one is not answered yet.
        self._turn_end = 0.0
        self._asks: dict[str, _Ask] = {}
        # Members on this server, and the numbers of their memberships (empty until that is known).
        self._members: dict[str, str] = {}
        self._remotes: dict[str, Client] = {}  # Members on other servers, as they came.
        # What goes to other servers soon, how many bytes that is, and how many wait for Redis.
        self._outboxes: defaultdict[str, list[_Posted]] = defaultdict(list)
        self._posted = self._waiting = 0
        self._numbers: dict[str, int] = {}  # Of what has come from other servers last.

    # What the server calls

    async def run(self) -> None:
        """Share the rooms until this is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bus.run(self._on_connected, self._on_entry))
            group.create_task(self._keep_lease())

    @property
    def ready(self) -> bool:
        """Whether the other servers can be reached. For Redis, the lease ends a little later."""
        return self._state == "in" and self._loop.time() - self._confirmed <= self._lease

    async def leave_cluster(self) -> None:
        """Take all members here out of their rooms, for the other servers; let nobody join."""
        for ask in tuple(self._asks.values()):
            self._give_up(ask.client, "the server is stopping")
        done = self._call_and_wait("bye", BYE_TIMEOUT)
        self._state = "gone"
        await done

    # What the handlers call

    def join_room(self, client: Client, room_id: str) -> "asyncio.Future[None]":
        """Ask for the client to join; return a Future that is done when it has.

        It raises RoomFullError, and then nothing has changed, or UnavailableError, and then the
        client may be in no room.
        """
        joined = self._loop.create_future()
        timer = self._loop.call_later(JOIN_TIMEOUT, self._give_up, client, "no answer in time")
        ask = self._asks[client.id] = _Ask(client, room_id, joined, timer)
        ask.number = self._call("join", room_id, client.id, self._max_room_size)
        return joined

    async def settled(self) -> bool:
        """Wait until all that was asked of Redis is done; return False if it is not in time."""
        return bool((await self._call_and_wait("nothing", JOIN_TIMEOUT))[0])

    def leave_room(self, client: Client) -> None:
        """Take the client out; tell the members here at once, and the others soon.

        Raises NotInRoomError when the client is in no room.
        """
        if client.id not in self._asks and client.id not in self._members:
            raise NotInRoomError(f"client {client.id!r} is in no room")
        self._give_up(client, "the client has left")

    # Joining and leaving

    def _end(self, ask: _Ask, error: RoomError | None = None) -> None:
        """Take note that a join has been carried out, or that nobody waits for it any more."""
        del self._asks[ask.client.id]
        ask.timer.cancel()
        if ask.joined.done():
            return  # It was cancelled by whoever had waited.
        if error is None:
            ask.joined.set_result(None)
        else:
            ask.joined.set_exception(error)
            ask.joined.exception()  # Marks it as seen.

    def _give_up(self, client: Client, reason: str) -> None:
        """Take a client out, even if it has only asked to join: that may be carried out yet."""
        ask = self._asks.get(client.id)
        if ask is not None:
            self._end(ask, UnavailableError(reason))
        self._call("leave", client.id)
        self._end_membership(client.id)

    def _end_membership(self, client_id: str) -> None:
        if self._members.pop(client_id, None) is not None:
            super().leave_room(self.get_client_by_id(client_id))

    def _notify(self, room: Room, message_type: MessageType, about: Client) -> None:
        if about.server:
            # Those here who have yet to be made known anew come after it: it is told of them.
            known = {key: each for key, each in room.clients.items() if self._members.get(key)}
            room = Room(room.id, known)
        with self._telling(len(room.clients)):
            super()._notify(room, message_type, about)

    # Calls of the script

    def _call(self, command: str, *args: object, on_reply: OnReply = lambda _: None) -> int:
        """Call the script and return the number of the call."""
        self._flush()  # What a client has sent must be there before it is seen to leave.
        self._number += 1
        if self._state in ("entering", "in"):
            self._bus.call((command, self._server, self._number, KEPT * 1000, *args), on_reply)
        else:
            on_reply(None)
        return self._number

    def _call_and_wait(self, command: str, timeout: float) -> Awaitable[Sequence[object]]:
        """Call the script now; return what waits until it has answered, but not for long."""
        done = self._loop.create_future()
        self._call(command, on_reply=done.set_result)
        return asyncio.wait([done], timeout=timeout)

    # What the inbox says

    async def _on_entry(self, server: str, fields: Sequence[bytes]) -> None:
        """Act on what was read from the inbox of a server."""
        if perf_counter() > self._turn_end:
            await asyncio.sleep(0)  # Others have their turn.
            self._turn_end = perf_counter() + TURN
        while not self.ready and server == self._server:  # noqa: ASYNC110
            await asyncio.sleep(self._lease / 30)  # The next beat will show.
        if server != self._server:
            return  # It has entered anew.
        try:
            kind, *values = (value.decode() for value in fields[1::2])
            getattr(self, f"_on_{kind}")(*values)
        except Exception:
            logger.exception("an entry in the inbox of server %s makes no sense", server)
            self._enter(self._memory)

    def _on_entered(self) -> None:
        logger.info("sharing rooms as server %s", self._server)

    def _on_joined(self, room_id: str, client_id: str, seq: str, number: str, others: str) -> None:
        """Let a client of this server into a room, or tell of it again; the first finds others."""
        if others:
            self._add_all(room_id, others)
        ask = self._asks.get(client_id)
        if ask is not None and ask.number == int(number):
            super().join_room(ask.client, room_id)
            self._end(ask)
        elif self._members.get(client_id) != "":
            return  # It has left again, as an entry will say.
        self._members[client_id] = seq

    def _on_full(self, client_id: str, number: str) -> None:
        ask = self._asks.get(client_id)
        if ask is not None and ask.number == int(number):
            self._end(ask, RoomFullError("the room is full"))

    def _on_new(self, room_id: str, client_id: str, server: str, seq: str) -> None:
        """Let a client of another server into a room, or tell of it again."""
        client = self._remotes.get(client_id)
        if client is None or client.server != server:
            client = self._add(client_id, server, seq)
        super().join_room(client, room_id)

    def _on_left(self, client_id: str, server: str) -> None:
        if server == self._server:  # It has left already, or is on its way to another room.
            self._end_membership(client_id)
        elif client_id in self._remotes and self._remotes[client_id].server == server:
            super().leave_room(self._remotes.pop(client_id))

    def _on_deserted(self, room_id: str) -> None:
        """Forget those in a room that has no members here."""
        with suppress(repository.NotFoundError):
            for client_id in self._room_repo.get(room_id).clients:
                del self._remotes[client_id]
            self._room_repo.delete(room_id)

    def _on_gone(self, server: str) -> None:
        """Take all members on another server out of their rooms."""
        for client in tuple(self._remotes.values()):
            if client.server == server:
                super().leave_room(self._remotes.pop(client.id))
        self._numbers[server] = 1 << 63

    # Members on other servers

    def _add(self, client_id: str, server: str, seq: str) -> Client:
        if client_id in self._remotes:  # It has moved to another worker, and this comes first.
            super().leave_room(self._remotes.pop(client_id))
        send = partial(self._relay, server, client_id, seq)
        client = self._remotes[client_id] = Client(send, client_id, f"server {server}", server)
        return client

    def _add_all(self, room_id: str, lines: str) -> None:
        """Add those who were there before. Nobody is told of them."""
        clients = [self._add(*line.split(" ")) for line in lines.splitlines()]
        with suppress(repository.AlreadyExistsError):
            self._room_repo.create(Room(room_id))
        here = self._room_repo.get(room_id).clients
        self._room_repo.update(Room(room_id, {**{each.id: each for each in clients}, **here}))

    # Messages between members on different servers

    def _relay(self, server: str, client_id: str, seq: str, message: bytes) -> None:
        """Send a message to a member on another server, or tell its sender that it cannot be."""
        if self.ready and self._waiting < MAX_WAITING:
            self._post(server, client_id, seq, message)
        else:
            self._loop.call_soon(self._tell_sender, message)

    def _post(self, server: str, client_id: str, seq: str, message: bytes) -> None:
        if not self._posted:
            self._loop.call_soon(self._flush)
        self._outboxes[server].append((client_id, seq, Raw(message)))
        self._posted += len(message)
        if self._posted >= BATCH:
            self._flush()

    def _flush(self) -> None:
        """Send what is in the outboxes, each as one entry in the inbox of its server."""
        outboxes, self._outboxes, self._posted = self._outboxes, defaultdict(list), 0
        for server, messages in outboxes.items():
            self._number += 1
            data = msgspec.json.encode(messages)
            self._waiting += len(data)
            entry = "e", "batch", "s", self._server, "n", self._number, "m", data
            self._bus.deliver(server, entry, partial(self._on_delivered, messages, len(data)))

    def _on_delivered(self, messages: Sequence[_Posted], size: int, reply: Reply) -> None:
        self._waiting -= size
        if reply is None:
            for _, _, message in messages:
                self._tell_sender(message)

    def _on_batch(self, server: str, number: str, messages: str) -> None:
        """Deliver what another server sends."""
        if int(number) <= self._numbers.get(server, 0):
            return  # It was there before, or comes after its server was taken for dead.
        self._numbers[server] = int(number)
        for client_id, seq, message in _decode(messages):
            if not client_id:
                self._tell_sender(message)
            elif self._members.get(client_id) == seq:
                self.get_client_by_id(client_id).send(bytes(message))
            else:
                self._post(server, "", "", bytes(message))

    def _tell_sender(self, message: bytes | Raw) -> None:
        """Tell the sender of a message that it did not arrive."""
        sent = msgspec.json.decode(message)
        sender = sent["payload"]["client_id"]
        if sender in self._members:
            self._undelivered(self.get_client_by_id(sender), MessageType(sent["type"]))

    # Being one of the servers

    def _on_connected(self, memory: str) -> None:
        """Enter if that is necessary, before what waits is sent on a new connection."""
        if self._state != "gone" and (memory != self._memory or self._state != "in"):
            self._enter(memory)

    def _enter(self, memory: str) -> None:
        """Become one of the servers, under another name, and make the members here known."""
        for client_id in tuple(self._remotes):
            super().leave_room(self._remotes.pop(client_id))
        self._flush()
        self._memory, self._server = memory, f"{self._process}-{self._number + 1}"
        self._state = "entering"
        self._bus.begin(memory, self._server)
        self._beat("enter")
        self._members = dict.fromkeys(self._members, "")
        for client_id in self._members:
            # Whoever is in the room already is not refused.
            self._call("join", self.get_room_by_client_id(client_id).id, client_id, 0)
        for ask in self._asks.values():
            ask.number = self._call("join", ask.room_id, ask.client.id, self._max_room_size)

    async def _keep_lease(self) -> None:
        while True:
            if not self._beating:
                self._beat("beat")
            await asyncio.sleep(self._lease / 3)

    def _beat(self, command: str) -> None:
        self._beating = True
        args = int(self._lease * 1000), MAX_INBOX, self._bus.last
        self._call(command, *args, on_reply=partial(self._on_beat, self._loop.time()))

    def _on_beat(self, sent: float, reply: Reply) -> None:
        self._beating = False
        if reply == b"OK" and self._state != "gone":
            self._state, self._confirmed = "in", sent
        elif reply == b"FENCED" and self._state != "gone":
            logger.warning("server %s was taken for dead", self._server)
            self._enter(self._memory)
