"""Many servers as one, over Redis or Valkey (services/clustering.go).

`ClusteringService` is a `RoomManager` whose rooms are those with members on this server. Members on
other servers are in them too, as clients whose `send` passes a message on to their server. So those
on one server talk to each other as without a cluster.

Who is in which room is decided by a script in Redis (clustering.lua). It writes what it did into
the inboxes of the servers concerned, and a join takes effect when it is read there. So for each
room, all servers see one order of joins. Each membership has a number, by which
messages are addressed: one that comes late cannot reach a later member of the same name.

A server has a lease, which it renews with a beat. When it has run out, another server takes it out
of all rooms. After that the server itself acts on nothing that it reads, until it knows whether it
still is one of the servers. If it is not, or if Redis has forgotten everything, it enters anew,
under another name: its clients are told that the members elsewhere have left, and then each pair
meets anew. docs/cluster.md has a diagram.
"""

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import ClassVar, TypeVar

import msgspec

from manager.room import NotInRoomError, RoomError, RoomFullError, RoomManager
from model.message import MessageType
from model.room import Client, Room, new_id
from repository import room as repository
from services.redis_bus import DROPPED, RedisBus, Reply

logger = logging.getLogger(__name__)
T = TypeVar("T")

JOIN_TIMEOUT = 5.0
"""Seconds that a join waits for Redis."""
MAX_WAITING = 16 << 20
"""Bytes that may wait for Redis. A message beyond that comes back to its sender."""
BATCH = 64 * 1024
"""Bytes after which a batch has no more messages."""
MAX_INBOX = 100_000
"""Entries that may wait for a server. One that is further behind has to enter anew."""
KEPT = 86400
"""Seconds for which Redis keeps what nobody has touched, as when the last server has crashed."""
AT_ONCE = 0.002
"""Seconds for which a server acts on entries before others have their turn."""


class UnavailableError(RoomError):
    """The other servers cannot be reached just now."""


@dataclass(slots=True, eq=False)
class _Ask:
    """A join that was asked for and is not read back yet."""

    client: Client
    room_id: str
    joined: "asyncio.Future[None] | None" = None
    """Done when the client is in the room; None if it is, and only Redis does not know."""
    timer: asyncio.TimerHandle | None = None
    number: int = 0
    """That of the call; 0 while there was none."""


@dataclass(slots=True)
class _Outbox:
    """What goes to another server at the end of this iteration of the event loop."""

    messages: list[tuple[int, bytes]] = field(default_factory=list)
    """Each with the number of the membership to which it is addressed."""
    returned: list[bytes] = field(default_factory=list)
    """Messages of that server that could not be delivered."""
    number: int = 0
    """How many times it was emptied. Twice the same is the same, sent again on a new connection."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, int, list[tuple[int, bytes]], list[bytes]]).decode


def _portion(messages: list[T], size: Callable[[T], int]) -> list[T]:
    """Take the first messages out of a list: as many as make one batch."""
    number = total = 0
    while number < len(messages) and total < BATCH:
        total += size(messages[number])
        number += 1
    portion = messages[:number]
    del messages[:number]
    return portion


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
        self._former: list[str] = []  # Its names since it was in, in this memory.
        self._number = 0  # Of the last call.
        self._confirmed = -math.inf  # When the last beat that was answered was sent.
        self._steady_since = 0.0  # Since when beats have been answered in time.
        self._beating = False
        self._keep_at = 0.0
        # Members on this server, and the numbers of their memberships (0 until that is known); and
        # how many of them each room has, as far as the inbox was read.
        self._members: dict[str, int] = {}
        self._by_seq: dict[int, Client] = {}
        self._here: dict[str, int] = {}
        # Joins by the numbers of the calls, and those for which clients wait, by client.
        self._asks: dict[int, _Ask] = {}
        self._asking: dict[str, _Ask] = {}
        # Members on other servers, and their ids by server.
        self._remotes: dict[str, Client] = {}
        self._of_server: defaultdict[str, set[str]] = defaultdict(set)
        # What goes to other servers, and the numbers of what came from them last.
        self._outboxes: defaultdict[str, _Outbox] = defaultdict(_Outbox)
        self._numbers: dict[str, int] = {}
        self._flushing = False

    # What the server calls

    async def run(self) -> None:
        """Share the rooms until this is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bus.run(self._on_connected, self._on_entries))
            group.create_task(self._keep_lease())

    @property
    def ready(self) -> bool:
        """Whether the other servers can be reached."""
        return self._state == "in" and not self._lapsed()

    async def leave_cluster(self) -> None:
        """Take all members here out of their rooms, for the other servers; let nobody join."""
        for ask in tuple(self._asking.values()):
            self._give_up(ask, "the server is stopping")
        if self._state != "out":
            self._call("bye")
        self._state = "gone"
        await self._bus.flush()

    # What the handlers call

    def join_room(self, client: Client, room_id: str) -> "asyncio.Future[None]":
        """Ask for the client to join; return a Future that is done when it has.

        It raises RoomFullError, and then nothing has changed, or UnavailableError, and then the
        client may be in no room.
        """
        joined = self._loop.create_future()
        ask = self._asking[client.id] = _Ask(client, room_id, joined)
        if self._state == "gone":
            self._end(ask, UnavailableError("the server is stopping"))
        else:
            reason = "no answer in time"
            ask.timer = self._loop.call_later(JOIN_TIMEOUT, self._give_up, ask, reason)
            if self._state != "out":
                self._send(ask)
        return joined

    async def settled(self) -> None:
        """Wait until all that was asked of Redis is done, or is not going to be soon."""
        done = asyncio.Event()
        if self._state == "in":
            self._call("keep", on_reply=lambda reply: done.set())
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), JOIN_TIMEOUT)

    def leave_room(self, client: Client) -> None:
        """Take the client out; tell the members here at once, and the others soon.

        Raises NotInRoomError when the client is in no room.
        """
        ask = self._asking.get(client.id)
        if ask is not None:
            self._end(ask, UnavailableError("the client has left"))
        if client.id not in self._members and (ask is None or not ask.number):
            raise NotInRoomError(f"client {client.id!r} is in no room")
        self._leave(client)

    # Joining and leaving

    def _send(self, ask: _Ask) -> None:
        # Whoever is in the room already is not refused.
        most = 0 if ask.joined is None else self._max_room_size
        ask.number = self._call("join", ask.room_id, ask.client.id, most)
        self._asks[ask.number] = ask

    def _end(self, ask: _Ask, error: RoomError | None = None) -> None:
        """Take note that a join has been carried out, or that nobody waits for it any more."""
        self._asks.pop(ask.number, None)
        if ask.joined is None:
            return
        del self._asking[ask.client.id]
        if ask.timer is not None:
            ask.timer.cancel()
        if ask.joined.done():
            return  # It was cancelled by whoever had waited.
        if error is None:
            ask.joined.set_result(None)
        else:
            ask.joined.set_exception(error)
            ask.joined.exception()  # Marks it as seen.

    def _give_up(self, ask: _Ask, reason: str) -> None:
        self._end(ask, UnavailableError(reason))
        if ask.number:  # It may have been carried out. Then the client has left its former room.
            self._leave(ask.client)

    def _leave(self, client: Client) -> None:
        if self._state in ("entering", "in"):
            self._call("leave", client.id)
        if client.id in self._members:
            self._end_membership(client)

    def _end_membership(self, client: Client) -> None:
        self._by_seq.pop(self._members.pop(client.id), None)
        super().leave_room(client)

    def _call(
        self, command: str, *args: object, on_reply: Callable[[Reply], None] | None = None
    ) -> int:
        """Call the script and return the number of the call."""
        self._flush()  # What a client has sent must be there before it is seen to leave.
        self._number += 1
        args = command, self._server, self._number, int(KEPT * 1000), *args
        self._bus.call(args, on_reply or self._check)
        return self._number

    def _notify(self, room: Room, message_type: MessageType, about: Client) -> None:
        if about.server:
            # Those here who have yet to be made known anew come after it: it is told of them.
            known = {key: each for key, each in room.clients.items() if self._members.get(key)}
            room = Room(room.id, known)
        with self._telling(len(room.clients)):
            super()._notify(room, message_type, about)

    # Members on other servers

    def _add(self, client_id: str, server: str, seq: int) -> Client:
        outbox = self._outboxes[server]

        def send(message: bytes) -> None:
            outbox.messages.append((seq, message))
            self._flush_later()

        client = self._remotes[client_id] = Client(send, client_id, f"server {server}", server)
        self._of_server[server].add(client_id)
        return client

    def _add_all(self, room_id: str, lines: str) -> None:
        """Add those who were there before. Nobody is told of them."""
        clients = {}
        for line in lines.splitlines():
            client_id, server, seq = line.split(" ")
            clients[client_id] = self._add(client_id, server, int(seq))
        try:
            room = self._room_repo.get(room_id)
        except repository.NotFoundError:
            self._room_repo.create(Room(room_id, clients))
        else:
            self._room_repo.update(Room(room_id, {**clients, **room.clients}))

    def _forget(self, client_id: str) -> Client:
        client = self._remotes.pop(client_id)
        self._of_server[client.server].discard(client_id)
        return client

    def _forget_room(self, room_id: str) -> None:
        """Forget those in a room that has no members here."""
        try:
            room = self._room_repo.get(room_id)
        except repository.NotFoundError:
            return
        for client_id in room.clients:
            self._forget(client_id)
        self._room_repo.delete(room_id)

    # What the inbox says

    async def _on_entries(self, server: str, entries: Sequence[Sequence[bytes]]) -> None:
        """Act on what was read from the inbox of a server, in order."""
        end = perf_counter() + AT_ONCE
        for fields in entries:
            while self._lapsed() and server == self._server:  # noqa: ASYNC110
                await asyncio.sleep(self._lease / 30)  # The next beat will show.
            if perf_counter() > end:
                await asyncio.sleep(0)
                end = perf_counter() + AT_ONCE
            if server != self._server:
                return  # It has entered anew.
            try:
                self._on_entry(fields)
            except Exception:
                logger.exception("an entry in the inbox of server %s makes no sense", server)
                self._enter(self._memory)

    def _on_entry(self, fields: Sequence[bytes]) -> None:
        if fields[0] == b"b":
            self._on_batch(fields[1])
        else:
            texts = [field.decode() for field in fields]
            entry = dict(zip(texts[::2], texts[1::2], strict=True))
            self._on[entry["e"]](self, entry)

    def _on_joined(self, entry: dict[str, str]) -> None:
        """Let a client of this server into a room."""
        room_id, seq = entry["r"], int(entry["q"])
        self._here[room_id] = self._here.get(room_id, 0) + 1
        if entry["o"]:
            self._add_all(room_id, entry["o"])
        ask = self._asks.get(int(entry["n"]))
        if ask is None:
            return  # It has left again, as an entry will say.
        self._end(ask)
        client = ask.client
        if ask.joined is not None:
            super().join_room(client, room_id)
        elif client.id not in self._members:
            return  # Likewise.
        self._members[client.id] = seq
        self._by_seq[seq] = client

    def _on_again(self, entry: dict[str, str]) -> None:
        """Tell of a client that has joined the room in which it is."""
        ask = self._asks.get(int(entry["n"]))
        if ask is not None:
            super().join_room(ask.client, ask.room_id)
            self._end(ask)

    def _on_full(self, entry: dict[str, str]) -> None:
        ask = self._asks.get(int(entry["n"]))
        if ask is not None:
            self._end(ask, RoomFullError("the room is full"))

    def _on_new(self, entry: dict[str, str]) -> None:
        """Let a client of another server into a room, or tell of it again."""
        client = self._remotes.get(entry["c"])
        client = client or self._add(entry["c"], entry["s"], int(entry["q"]))
        super().join_room(client, entry["r"])

    def _on_left(self, entry: dict[str, str]) -> None:
        room_id = entry["r"]
        if entry["s"] != self._server:
            super().leave_room(self._forget(entry["c"]))
            return
        client = self._by_seq.get(int(entry["q"]))
        if client is not None:  # It is on its way to another room.
            self._end_membership(client)
        self._here[room_id] -= 1
        if not self._here[room_id]:
            del self._here[room_id]
            self._forget_room(room_id)

    def _on_gone(self, entry: dict[str, str]) -> None:
        """Take all members on another server out of their rooms."""
        server = entry["s"]
        for client_id in sorted(self._of_server[server]):  # As they came.
            super().leave_room(self._forget(client_id))
        self._give_back(self._outboxes[server].messages)
        del self._of_server[server], self._outboxes[server]
        self._numbers.pop(server, None)

    _on: ClassVar[dict[str, Callable[["ClusteringService", dict[str, str]], None]]] = {
        "entered": lambda self, entry: None,
        "joined": _on_joined,
        "again": _on_again,
        "full": _on_full,
        "new": _on_new,
        "left": _on_left,
        "gone": _on_gone,
    }

    # Messages between members on different servers

    def _flush_later(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what is in the outboxes, or give it back if it cannot be sent."""
        if not self._flushing:
            return
        self._flushing = False
        is_possible = self.ready and self._bus.waiting < MAX_WAITING
        for server, outbox in self._outboxes.items():
            messages, outbox.messages = outbox.messages, []
            if not is_possible:
                self._give_back(messages)
                continue
            returned, outbox.returned = outbox.returned, []
            while messages or returned:
                batch = _portion(messages, lambda each: len(each[1])), _portion(returned, len)
                outbox.number += 1
                data = _encode((self._server, outbox.number, *batch))
                self._bus.deliver(server, data, partial(self._on_delivered, batch[0]))

    def _on_delivered(self, messages: Sequence[tuple[int, bytes]], reply: Reply) -> None:
        if reply is None or reply is DROPPED:
            self._give_back(messages)

    def _on_batch(self, data: bytes) -> None:
        """Deliver what another server sends."""
        server, number, messages, returned = _decode(data)
        outbox = self._outboxes.get(server)
        if outbox is None or number <= self._numbers.get(server, 0):
            return  # That server is gone, or this was there before.
        self._numbers[server] = number
        for seq, message in messages:
            client = self._by_seq.get(seq)
            if client is not None:
                client.send(message)
            else:
                outbox.returned.append(message)
                self._flush_later()
        for message in returned:
            self._tell_sender(message)

    def _give_back(self, messages: Sequence[tuple[int, bytes]]) -> None:
        for _, message in messages:
            self._tell_sender(message)

    def _tell_sender(self, message: bytes) -> None:
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
            super().leave_room(self._forget(client_id))
        self._former = [*self._former, self._server] if memory == self._memory else []
        self._memory, self._server, self._state = memory, new_id(), "entering"
        self._confirmed = -math.inf
        self._beating = False
        self._members = dict.fromkeys(self._members, 0)
        for index in (self._by_seq, self._here, self._asks, self._numbers):
            index.clear()
        self._bus.begin(memory, self._server)
        self._flush()
        self._outboxes.clear()
        on_reply = partial(self._on_enter, self._loop.time())
        self._call("enter", int(self._lease * 1000), *self._former, on_reply=on_reply)
        for client_id in self._members:
            room = self.get_room_by_client_id(client_id)
            self._send(_Ask(room.clients[client_id], room.id))
        for ask in self._asking.values():
            self._send(ask)

    def _on_enter(self, sent: float, reply: Reply) -> None:
        if reply == b"OK" and self._state == "entering":
            self._state = "in"
            self._confirmed = self._steady_since = sent
            self._former.clear()
            logger.info("sharing rooms as server %s", self._server)

    def _check(self, reply: Reply) -> None:
        """Enter anew if this server is not one of the servers any more."""
        if reply == b"FENCED" and self._state == "in":
            logger.warning("server %s was taken for dead", self._server)
            self._enter(self._memory)

    def _lapsed(self) -> bool:
        """Return whether the lease has run out. For Redis it has begun a little later."""
        return self._loop.time() - self._confirmed > self._lease

    async def _keep_lease(self) -> None:
        while True:
            if self._state == "in" and not self._beating:
                self._beat(self._loop.time())
            await asyncio.sleep(self._lease / 3)

    def _beat(self, now: float) -> None:
        if now - self._confirmed > self._lease * 2 / 3:
            self._steady_since = now
        # If it is Redis that stood still, all leases have run out, and nobody is dead.
        looks = int(now - self._steady_since >= self._lease)
        self._beating = True
        on_reply = partial(self._on_beat, now)
        self._call("beat", int(self._lease * 1000), MAX_INBOX, looks, on_reply=on_reply)
        if now >= self._keep_at:
            self._keep_at = now + KEPT / 4
            rooms = tuple(self._here)
            for first in range(0, len(rooms), 500):
                self._call("keep", *rooms[first : first + 500])

    def _on_beat(self, sent: float, reply: Reply) -> None:
        if reply is DROPPED:
            return
        self._beating = False
        if reply == b"OK":
            self._confirmed = sent
            self._flush_later()  # What is to be returned may have had to wait.
        self._check(reply)
