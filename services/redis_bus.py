"""The connection to Redis or Valkey: calls of the script in order, and this server's inbox.

There are two connections: one for commands, whose replies come in the order of the commands, and
one on which reading the inbox waits. Both are redis-py's, which knows passwords, TLS and sockets.
Its client is left out, which takes a connection and a task for each command and some 60 µs.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import uniform
from typing import Any, Protocol

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    parse_url,
)
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

SCRIPT = (Path(__file__).parent / "clustering.lua").read_bytes()

OLDEST = (6, 2)
"""The version of Redis that is needed: older ones cannot trim a stream by an entry's id."""

AT_ONCE = 128
"""Entries that are read from the inbox at once."""

UNTRIMMED = 64
"""Entries that were read after which the inbox is trimmed in any case."""

COMPLAIN = 60.0
"""Seconds between two records that say that Redis cannot be reached."""

Reply = Any
"""bytes, int, None or a list of them."""

Entry = Sequence[bytes]
"""The fields of an entry, each followed by its value."""


class Dropped:
    """Takes the place of a reply: the command was not carried out, or nobody knows."""


DROPPED = Dropped()


class Listener(Protocol):
    """What the bus calls: the service."""

    def on_connected(self, memory: str) -> None:
        """Take note that there is a connection, to a Redis that has this memory.

        Commands that wait are sent when this returns. After a restart, or if another Redis has
        taken over, it is another memory, and what waits has to be dropped.
        """

    async def on_entries(self, server: str, entries: Sequence[Entry]) -> None:
        """Act on what was read from the inbox of the server of this name, in order."""


class Link:
    """One connection: the replies come in the order of the commands."""

    def __init__(self, connection: AbstractConnection, memory: str, sha: bytes) -> None:
        self._connection = connection
        self._expected: deque[Callable[[Reply], None]] = deque()
        self._unsent: list[bytes] = []
        self._wake = asyncio.Event()
        self.memory = memory
        self.sha = sha

    @classmethod
    async def open(cls, url: str) -> "Link":
        """Connect. Raises RedisError or OSError, also if it is too old."""
        arguments: dict[str, Any] = dict(parse_url(url))
        kind: type[AbstractConnection] = arguments.pop("connection_class", Connection)
        # Replies as before RESP3, and no limit to how long one may take: `run` has one.
        connection = kind(**{**arguments, "protocol": 2, "socket_timeout": None})
        await connection.connect()  # type: ignore[no-untyped-call]
        try:
            await connection.send_command("INFO", "server")
            info = (await connection.read_response()).decode()
            about = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
            version = about["redis_version"]
            if tuple(map(int, version.split(".")[:2])) < OLDEST:
                raise RedisError(f"version {version} is older than {'.'.join(map(str, OLDEST))}")
            await connection.send_command("SCRIPT", "LOAD", SCRIPT)
            return cls(connection, about["run_id"][:12], await connection.read_response())
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    def send(self, command: Sequence[Any], on_reply: Callable[[Reply], None]) -> None:
        """Send a command at the end of this iteration of the event loop."""
        self._expected.append(on_reply)
        self._unsent += self._connection.pack_command(*command)
        self._wake.set()

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Reply]:
        """Send commands and return their replies. This is for a connection that is not run."""
        packed = self._connection.pack_commands(commands)
        await self._connection.send_packed_command(packed, check_health=False)
        return [await self._connection.read_response() for _ in commands]

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)

    async def run(self, timeout: float) -> None:
        """Send commands and take replies until the connection is lost.

        Raises RedisError or OSError, or TimeoutError if nothing has come for so many seconds.
        """
        loop = asyncio.get_running_loop()
        writer = asyncio.create_task(self._write())
        try:
            async with asyncio.timeout(timeout) as limit:
                while True:
                    reply = await self._connection.read_response(disconnect_on_error=False)
                    limit.reschedule(loop.time() + timeout)
                    self._expected.popleft()(reply)
        finally:
            writer.cancel()
            with suppress(asyncio.CancelledError, RedisError, OSError):
                await writer

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            unsent, self._unsent = self._unsent, []
            await self._connection.send_packed_command(unsent, check_health=False)


class _Command:
    """A command that waits for its reply."""

    __slots__ = ("dropped", "on_reply", "parts", "size")

    def __init__(self, parts: Sequence[Any], size: int, on_reply: Callable[[Reply], None]) -> None:
        self.parts = parts
        self.size = size
        self.on_reply = on_reply
        self.dropped = False


class RedisBus:
    """Keeps the two connections, and sends what was not answered again on the next."""

    def __init__(
        self, open_link: Callable[[], Awaitable[Link]], prefix: str, timeout: float
    ) -> None:
        """Prepare. The names of all keys begin with `prefix`.

        A connection on which nothing has come for `timeout` seconds is given up. Something has to
        be called that often.
        """
        self._open_link = open_link
        self._prefix = "{" + prefix + "}"  # In a cluster of Redis, all keys are in one place.
        self._timeout = timeout
        self._queue: deque[_Command] = deque()
        self._link: Link | None = None
        self._memory = ""
        self._server = self._inbox = ""
        self._last = b"0"
        self._chosen = asyncio.Event()
        self._complained = -COMPLAIN
        self.waiting = 0
        """Bytes of messages that wait for their reply."""

    async def run(self, listener: Listener) -> None:
        """Keep the connections until this is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(self._carry_out, listener))
            group.create_task(self._keep(self._read_inbox, listener))

    async def flush(self) -> None:
        """Wait until everything is answered, or the connection is lost."""
        while self._queue and self._link is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    def call(self, *arguments: Any, on_reply: Callable[[Reply], None]) -> None:
        """Call the script. Calls and deliveries are carried out in order."""
        # The digest of the script is that of the connection.
        self._add(("EVALSHA", None, 1, f"{self._prefix}:{self._memory}", *arguments), 0, on_reply)

    def deliver(self, server: str, data: bytes, on_reply: Callable[[Reply], None]) -> None:
        """Write into another server's inbox; the reply is None if there is no such inbox."""
        inbox = f"{self._prefix}:{self._memory}:inbox:{server}"
        self._add(("XADD", inbox, "NOMKSTREAM", "*", "b", data), len(data), on_reply)

    def begin(self, memory: str, server: str) -> None:
        """Forget what waits, with DROPPED as reply, and read this server's inbox from now on."""
        queue, self._queue, self.waiting = self._queue, deque(), 0
        for command in queue:
            command.dropped = True
            command.on_reply(DROPPED)
        self._memory = memory
        self._server, self._last = server, b"0"
        self._inbox = f"{self._prefix}:{memory}:inbox:{server}"
        self._chosen.set()

    def _add(self, parts: Sequence[Any], size: int, on_reply: Callable[[Reply], None]) -> None:
        command = _Command(parts, size, on_reply)
        self._queue.append(command)
        self.waiting += size
        if self._link is not None:
            self._send(self._link, command)

    def _send(self, link: Link, command: _Command) -> None:
        parts = command.parts
        if parts[1] is None:
            parts = (parts[0], link.sha, *parts[2:])

        def answered(reply: Reply) -> None:
            if not command.dropped:
                self._queue.popleft()
                self.waiting -= command.size
                command.on_reply(reply)

        link.send(parts, answered)

    async def _keep(
        self, serve: Callable[[Link, Listener], Awaitable[None]], listener: Listener
    ) -> None:
        """Serve on one connection after another."""
        while True:
            try:
                link = await self._open_link()
                try:
                    await serve(link, listener)
                finally:
                    await link.close()
            except (RedisError, OSError, TimeoutError) as error:
                self._complain(error)
            await asyncio.sleep(uniform(0.1, 0.5))

    def _complain(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._complained >= COMPLAIN:
            self._complained = now
            logger.warning("redis: %s", error or "no reply in time")

    async def _carry_out(self, link: Link, listener: Listener) -> None:
        listener.on_connected(link.memory)
        self._link = link
        for command in self._queue:
            self._send(link, command)
        try:
            await link.run(self._timeout)
        finally:
            self._link = None

    async def _read_inbox(self, link: Link, listener: Listener) -> None:
        block = int(self._timeout * 1000 / 4)
        untrimmed = 0
        while True:
            await self._chosen.wait()
            inbox, server, last = self._inbox, self._server, self._last
            read = ("XREAD", "COUNT", AT_ONCE, "BLOCK", block, "STREAMS", inbox, last)
            commands: list[Sequence[Any]] = [read]
            if untrimmed >= UNTRIMMED:
                commands.insert(0, ("XTRIM", inbox, "MINID", last))
                untrimmed = 0
            async with asyncio.timeout(self._timeout):
                *_, reply = await link.ask(commands)
            if not reply or server != self._server:
                continue
            entries = reply[0][1]
            await listener.on_entries(server, [fields for _, fields in entries])
            if server == self._server:
                self._last = entries[-1][0]
                untrimmed += len(entries)
