"""Many servers as one, over Redis or Valkey (services/clustering.go).

`ClusteringService` is a `RoomManager` whose rooms are those with members on this server. Members on
other servers are in them too: as clients whose `send` passes a message on to their server. So those
on one server talk to each other as without a cluster.

Who is in which room is decided by one script in Redis (clustering.lua). It writes what it did into
the inboxes of the servers concerned, and a join takes effect when it is read there. So for every
room, all servers see one order of joins and departures. Each membership has a number, by which
messages are addressed: one that comes late cannot reach a later member of that name.

A server has a lease, which it renews with a beat. When it has run out, another server takes it out
of all rooms. The server itself acts on nothing that it reads after that, until it knows whether it
still is one of the servers. If not, or if Redis has another memory now, it enters anew, under
another name: its members are told that those elsewhere have left, and are made known as newcomers.
docs/cluster.md has a diagram.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from time import perf_counter
from typing import ClassVar

import msgspec

from manager.room import NotInRoomError, RoomError, RoomManager
from model.message import MessageType
from model.room import Client, Room, new_id
from repository import room as repository
from services.redis_bus import DROPPED, Entry, RedisBus, Reply

logger = logging.getLogger(__name__)

JOIN_TIMEOUT = 5.0
"""Seconds that a join waits for Redis."""

MAX_WAITING = 16 << 20
"""Bytes that may wait for Redis. A message beyond that comes back to its sender."""

MAX_INBOX = 100_000
"""Entries that may wait for a server. One that is further behind has to enter anew."""

KEPT = 86400.0
"""Seconds that Redis keeps what nobody has touched: what is left when the last server is gone."""

AT_ONCE = 0.002
"""Seconds for which entries are acted on before others have their turn."""


class UnavailableError(RoomError):
    """The other servers cannot be reached just now."""


class RoomFullError(RoomError):
    """The room has as many members as it may have."""


class _Ask:
    """A join that was asked for and is not read back yet."""

    __slots__ = ("client", "joined", "number", "room_id", "timer")

    def __init__(
        self, client: Client, room_id: str, joined: "asyncio.Future[None] | None" = None
    ) -> None:
        self.client = client
        self.room_id = room_id
        self.joined = joined
        """Done when the client is in the room; None if it is there already, for this server."""
        self.number = 0
        """That of the call; 0 if it was not made yet."""
        self.timer: asyncio.TimerHandle | None = None


class _Remote:
    """A member of a room that is a client of another server."""

    __slots__ = ("client", "seq", "server")

    def __init__(self, client: Client, server: str, seq: int) -> None:
        self.client = client
        self.server = server
        self.seq = seq


class _Outbox:
    """Messages to the members on another server, until the end of this iteration of the loop."""

    __slots__ = ("messages", "number", "returned", "service")

    def __init__(self, service: "ClusteringService") -> None:
        self.service = service
        self.messages: list[tuple[int, bytes]] = []
        self.returned: list[bytes] = []
        self.number = 0

    def add(self, seq: int, message: bytes) -> None:
        self.messages.append((seq, message))
        self.service.flush_later()


class _Batch(msgspec.Struct, array_like=True):
    """What one server writes into another's inbox."""

    server: str
    number: int
    """The number of the batch: it may come twice, when a connection is lost."""
    messages: list[tuple[int, bytes]]
    """Messages, each with the number of the membership to which it goes."""
    returned: list[bytes]
    """Messages that could not be delivered."""


class _Addressed(msgspec.Struct):
    client_id: str


class _Sent(msgspec.Struct):
    """What a returned message says of its sender."""

    type: MessageType
    payload: _Addressed


_encode = msgspec.msgpack.Encoder().encode
_decode_batch = msgspec.msgpack.Decoder(_Batch).decode
_decode_sent = msgspec.json.Decoder(_Sent).decode


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
        telling: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        """Prepare.

        `undelivered` is called with the sender of a message that did not arrive after all, and with
        the type of that. `telling` returns the context in which the members of a room are told
        something.
        """
        super().__init__(room_repo)
        self._bus = bus
        self._lease = lease
        self._max_room_size = max_room_size
        self._undelivered = undelivered
        self._telling = telling
        self._loop = asyncio.get_running_loop()

        self._memory = ""
        """The name of what Redis remembers."""
        self._server = ""
        """The name of this server; another each time that it enters."""
        self._state = "out"
        """`out` of the cluster, `entering`, `in`, or `gone` for good."""
        self._number = 0
        self._confirmed = -math.inf
        """When the last beat that was answered was sent."""
        self._steady_since = 0.0
        self._beating = False
        self._keep_at = 0.0

        self._asks: dict[int, _Ask] = {}
        """Joins that were called for, by the number of the call."""
        self._asking: dict[str, _Ask] = {}
        """Joins for which clients wait, by client id."""
        self._here: dict[str, int] = {}
        """How many members a room has on this server, as far as the inbox was read."""
        self._members: dict[str, Client] = {}
        """The members of rooms that are on this server."""
        self._seqs: dict[str, int] = {}
        """The numbers of their memberships, by client id."""
        self._by_seq: dict[int, Client] = {}
        self._remotes: dict[str, _Remote] = {}
        self._of_server: dict[str, set[str]] = {}
        self._outboxes: dict[str, _Outbox] = {}
        self._flushing = False
        self._numbers: dict[str, int] = {}
        """The numbers of the last batches, by the server that sent them."""

    # What the server calls

    async def run(self) -> None:
        """Share the rooms until this is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bus.run(self))
            group.create_task(self._keep_lease())

    @property
    def ready(self) -> bool:
        """Whether joins are served."""
        return self._state == "in" and not self._lapsed()

    async def leave_cluster(self) -> None:
        """Take all members here out of their rooms, for the other servers; let no one join."""
        for ask in tuple(self._asking.values()):
            self._give_up(ask, "the server is stopping")
        if self._state != "out":
            self._call("bye")
        self._state = "gone"
        await self._bus.flush()

    # What the handlers call

    def join_room(self, client: Client, room_id: str) -> "asyncio.Future[None]":
        """Ask for the client to join; return a Future that is done when it has.

        The Future raises RoomFullError, and then nothing has changed, or UnavailableError, and then
        the client may be in no room.
        """
        joined = self._loop.create_future()
        if self._state == "gone":
            joined.set_exception(UnavailableError("the server is stopping"))
            return joined
        ask = _Ask(client, room_id, joined)
        ask.timer = self._loop.call_later(JOIN_TIMEOUT, self._give_up, ask, "no answer in time")
        self._asking[client.id] = ask
        if self._state != "out":
            self._send(ask)
        return joined

    def leave_room(self, client: Client) -> None:
        """Take the client out; tell the members here at once, and the others soon.

        Raises NotInRoomError when the client is in no room.
        """
        ask = self._asking.get(client.id)
        if ask is not None:
            self._end(ask, UnavailableError("the client is leaving"))
        if client.id in self._members or (ask is not None and ask.number):
            self._leave(client)
        else:
            raise NotInRoomError(f"client {client.id!r} is in no room")

    # Joining and leaving

    def _send(self, ask: _Ask) -> None:
        ask.number = self._call("join", ask.room_id, ask.client.id, self._max_room_size)
        self._asks[ask.number] = ask

    def _end(self, ask: _Ask, error: RoomError | None = None) -> None:
        """Take note that a join has been carried out, or that the client waits no longer."""
        self._asks.pop(ask.number, None)
        if ask.joined is None:
            return
        del self._asking[ask.client.id]
        if ask.timer is not None:
            ask.timer.cancel()
        if ask.joined.done():
            return  # Whoever waited has been cancelled.
        if error is None:
            ask.joined.set_result(None)
        else:
            ask.joined.set_exception(error)
            ask.joined.exception()  # Marks it as seen: nobody may be waiting.

    def _give_up(self, ask: _Ask, reason: str) -> None:
        self._end(ask, UnavailableError(reason))
        # It may have been carried out. Then the client has left the room in which it was before.
        if ask.number:
            self._leave(ask.client)

    def _leave(self, client: Client) -> None:
        if self._state in ("entering", "in"):
            self._call("leave", client.id)
        if client.id in self._members:
            self._end_membership(client)

    def _end_membership(self, client: Client) -> None:
        del self._members[client.id]
        seq = self._seqs.pop(client.id, None)
        if seq is not None:
            del self._by_seq[seq]
        room = self.get_room_by_client_id(client.id)
        with self._telling(room.id):
            super().leave_room(client)

    def _call(
        self,
        command: str,
        *arguments: object,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> int:
        self._flush()  # What a client has sent must be there before it is seen to leave.
        self._number += 1
        self._bus.call(
            command, self._server, self._number, int(KEPT * 1000), *arguments,
            on_reply=on_reply or self._check,
        )  # fmt: skip
        return self._number

    # Members on other servers

    def _add(self, client_id: str, server: str, seq: int) -> Client:
        outbox = self._outboxes.get(server)
        if outbox is None:
            outbox = self._outboxes[server] = _Outbox(self)
        client = Client(partial(outbox.add, seq), client_id, f"server {server}", remote=True)
        self._remotes[client_id] = _Remote(client, server, seq)
        self._of_server.setdefault(server, set()).add(client_id)
        return client

    def _forget(self, client_id: str) -> Client:
        remote = self._remotes.pop(client_id)
        of_server = self._of_server[remote.server]
        of_server.discard(client_id)
        if not of_server:
            del self._of_server[remote.server]
        return remote.client

    def _remove(self, client_id: str) -> None:
        """Take a member on another server out of its room, and tell those here."""
        client = self._forget(client_id)
        room = self.get_room_by_client_id(client_id)
        with self._telling(room.id):
            super().leave_room(client)

    def _add_all(self, room_id: str, lines: str) -> None:
        """Add the members that a room has elsewhere. Nobody is told: they were there before."""
        clients = {}
        for line in filter(None, lines.split("\n")):
            client_id, server, seq = line.split(" ")
            clients[client_id] = self._add(client_id, server, int(seq))
        if not clients:
            return
        try:
            room = self._room_repo.get(room_id)
        except repository.NotFoundError:
            self._room_repo.create(Room(room_id, clients))
        else:
            self._room_repo.update(Room(room_id, {**clients, **room.clients}))

    def _forget_room(self, room_id: str) -> None:
        """Forget a room in which nobody is left here."""
        try:
            room = self._room_repo.get(room_id)
        except repository.NotFoundError:
            return  # Nobody was in it elsewhere.
        for client_id in room.clients:
            self._forget(client_id)
        self._room_repo.delete(room_id)

    # What the inbox says

    async def on_entries(self, server: str, entries: Sequence[Entry]) -> None:
        end = perf_counter() + AT_ONCE
        for fields in entries:
            if self._lapsed():
                await self._renewed(server)
            if perf_counter() > end:
                await asyncio.sleep(0)
                end = perf_counter() + AT_ONCE
            if server != self._server:
                return
            if fields[0] == b"b":
                self._on_batch(_decode_batch(fields[1]))
            else:
                texts = [field.decode() for field in fields]
                entry = dict(zip(texts[::2], texts[1::2], strict=True))
                self._on[entry["e"]](self, entry)

    async def _renewed(self, server: str) -> None:
        """Wait until it is known whether the others have taken this server for dead."""
        while server == self._server and self._lapsed():  # noqa: ASYNC110
            await asyncio.sleep(self._lease / 30)

    def _on_entered(self, entry: dict[str, str]) -> None:
        pass

    def _on_joined(self, entry: dict[str, str]) -> None:
        """Let a client of this server into the room."""
        room_id, seq = entry["r"], int(entry["q"])
        self._here[room_id] = self._here.get(room_id, 0) + 1
        if "o" in entry:
            self._add_all(room_id, entry["o"])
        ask = self._asks.get(int(entry["n"]))
        if ask is None:
            return  # It has left again, as one of the next entries says.
        if ask.joined is not None:
            with self._telling(room_id):
                super().join_room(ask.client, room_id)
            self._members[ask.client.id] = ask.client
        elif ask.client.id not in self._members:
            self._end(ask)
            return  # Likewise.
        self._seqs[ask.client.id] = seq
        self._by_seq[seq] = ask.client
        self._end(ask)

    def _on_again(self, entry: dict[str, str]) -> None:
        """Tell the others again of a client that has joined the room in which it is."""
        ask = self._asks.get(int(entry["n"]))
        if ask is not None:
            with self._telling(ask.room_id):
                super().join_room(ask.client, ask.room_id)
            self._end(ask)

    def _on_full(self, entry: dict[str, str]) -> None:
        """Let a client of this server know that the room is full."""
        ask = self._asks.get(int(entry["n"]))
        if ask is not None:
            self._end(ask, RoomFullError("the room is full"))

    def _on_new(self, entry: dict[str, str]) -> None:
        """Let a client of another server into a room that has members here."""
        client_id, room_id, seq = entry["c"], entry["r"], int(entry["q"])
        remote = self._remotes.get(client_id)
        client = remote.client if remote else self._add(client_id, entry["s"], seq)
        with self._telling(room_id):
            super().join_room(client, room_id)

    def _on_left(self, entry: dict[str, str]) -> None:
        """Take a member out of a room that has members here, or had until then."""
        room_id, seq = entry["r"], int(entry["q"])
        if entry["s"] != self._server:
            self._remove(entry["c"])
            return
        client = self._by_seq.get(seq)
        if client is not None:  # It is on its way to another room.
            self._end_membership(client)
        self._here[room_id] -= 1
        if not self._here[room_id]:
            del self._here[room_id]
            self._forget_room(room_id)

    def _on_gone(self, entry: dict[str, str]) -> None:
        """Take all members on a server out of their rooms."""
        server = entry["s"]
        for client_id in tuple(self._of_server.get(server, ())):
            self._remove(client_id)
        self._numbers.pop(server, None)
        outbox = self._outboxes.pop(server, None)
        if outbox is not None:
            self._give_back(outbox.messages)

    _on: ClassVar[dict[str, Callable[["ClusteringService", dict[str, str]], None]]] = {
        "entered": _on_entered,
        "joined": _on_joined,
        "again": _on_again,
        "full": _on_full,
        "new": _on_new,
        "left": _on_left,
        "gone": _on_gone,
    }

    # Messages between members on different servers

    def flush_later(self) -> None:
        """Send what is in the outboxes at the end of this iteration of the event loop."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if not self._flushing:
            return
        self._flushing = False
        reachable = self._state == "in" and not self._lapsed()
        for server, outbox in self._outboxes.items():
            messages, outbox.messages = outbox.messages, []
            returned, outbox.returned = outbox.returned, []
            if not messages and not returned:
                continue
            if not reachable or self._bus.waiting > MAX_WAITING:
                self._give_back(messages)
                continue
            outbox.number += 1
            data = _encode(_Batch(self._server, outbox.number, messages, returned))
            self._bus.deliver(server, data, partial(self._on_delivered, messages))

    def _on_delivered(self, messages: Sequence[tuple[int, bytes]], reply: Reply) -> None:
        if reply is None or reply is DROPPED:
            self._give_back(messages)

    def _on_batch(self, batch: _Batch) -> None:
        outbox = self._outboxes.get(batch.server)
        if outbox is None or batch.number <= self._numbers.get(batch.server, 0):
            return  # It is from a server that is gone, or was there already.
        self._numbers[batch.server] = batch.number
        for seq, message in batch.messages:
            client = self._by_seq.get(seq)
            if client is not None:
                client.send(message)
            else:
                outbox.returned.append(message)
                self.flush_later()
        self._tell_senders(batch.returned)

    def _give_back(self, messages: Sequence[tuple[int, bytes]]) -> None:
        self._tell_senders([message for _, message in messages])

    def _tell_senders(self, messages: Sequence[bytes]) -> None:
        """Tell the senders of messages that these did not arrive."""
        for message in messages:
            sent = _decode_sent(message)
            try:
                sender = self.get_client_by_id(sent.payload.client_id)
            except RoomError:
                continue  # It has left.
            self._undelivered(sender, sent.type)

    # Being one of the servers

    def on_connected(self, memory: str) -> None:
        if self._state == "gone":
            return
        if memory != self._memory or self._state != "in":
            self._enter(memory)

    def _enter(self, memory: str) -> None:
        """Become one of the servers, under another name."""
        before = self._server if memory == self._memory else ""
        for client_id in tuple(self._remotes):
            self._remove(client_id)
        self._memory, self._server = memory, new_id()
        self._state = "entering"
        self._beating = False
        for index in (self._asks, self._here, self._seqs, self._by_seq, self._numbers):
            index.clear()
        self._bus.begin(memory, self._server)
        self._outboxes.clear()
        lease = int(self._lease * 1000)
        self._call("enter", lease, before, on_reply=partial(self._on_enter, self._loop.time()))
        for client in self._members.values():
            self._send(_Ask(client, self.get_room_by_client_id(client.id).id))
        for ask in self._asking.values():
            self._send(ask)

    def _on_enter(self, sent: float, reply: Reply) -> None:
        if reply == b"OK" and self._state == "entering":
            self._state = "in"
            self._confirmed = self._steady_since = sent
            logger.info("sharing rooms as server %s", self._server)

    def _check(self, reply: Reply) -> None:
        """Enter anew if this server is not one of the servers any more."""
        if reply == b"FENCED" and self._state == "in":
            self._enter(self._memory)

    def _lapsed(self) -> bool:
        """Return whether the lease has run out. Redis has begun it later than this clock."""
        return self._loop.time() - self._confirmed > self._lease

    async def _keep_lease(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(self._lease / 3)

    def _beat(self) -> None:
        if self._state != "in" or self._beating:
            return
        now = self._loop.time()
        if now - self._confirmed > self._lease * 2 / 3:
            self._steady_since = now
        # Whoever stood still, or has not reached Redis, may find the leases of all run out.
        looks = int(now - self._steady_since >= self._lease)
        self._beating = True
        lease, on_reply = int(self._lease * 1000), partial(self._on_beat, now)
        self._call("beat", lease, MAX_INBOX, looks, on_reply=on_reply)
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
        self._check(reply)
