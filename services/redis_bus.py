"""The connections to Redis or Valkey: one for commands, one that waits at the inbox.

Both are redis-py's, which knows passwords, TLS and sockets. Its client is left out: it would take a
task and a connection for each command.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha1
from itertools import islice
from pathlib import Path
from random import uniform
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("clustering.lua").read_bytes()
SHA = sha1(SCRIPT).hexdigest()

OLDEST = 6, 2
"""The version of Redis that is needed. Older ones cannot trim a stream by the id of an entry."""
AT_ONCE = 128
"""Commands that are sent at once, and entries that are read: half as many after a timeout."""

Reply = Any
"""bytes, int or a list of them; None if the command was not carried out, or nobody knows."""
OnReply = Callable[[Reply], None]
OnEntry = Callable[[str, Sequence[bytes]], Awaitable[None]]


class Link:
    """A connection."""

    def __init__(self, url: str) -> None:
        """Prepare. Raises ValueError or TypeError for the URL's options."""
        arguments: dict[str, Any] = dict(parse_url(url))
        kind: type[AbstractConnection] = arguments.pop("connection_class", Connection)
        self._connection = kind(**{**arguments, "protocol": 2, "socket_timeout": None})

    async def open(self) -> str:
        """Connect. Raises RedisError or OSError, also if that Redis is too old.

        Return the name of what it remembers: another one after a restart or a failover.
        """
        await self._connection.connect()  # type: ignore[no-untyped-call]
        info, _ = await self.ask([("INFO", "server"), ("SCRIPT", "LOAD", SCRIPT)])
        about: dict[str, str] = dict(it.split(":", 1) for it in info.decode().split() if ":" in it)
        version = about["redis_version"]
        if tuple(map(int, version.split(".")[:2])) < OLDEST:
            raise RedisError(f"version {version} is too old, it takes {OLDEST[0]}.{OLDEST[1]}")
        return about["run_id"][:12]

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Reply]:
        """Send commands and return their replies. Raises RedisError or OSError."""
        packed = self._connection.pack_commands(commands)
        try:
            await self._connection.send_packed_command(packed, check_health=False)
        except RuntimeError as error:  # uvloop's, if it was lost while nobody read from it.
            raise ConnectionError("the connection is lost") from error
        return [await self._connection.read_response() for _ in commands]

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)


class RedisBus:
    """Has commands carried out in order, and reads the inbox.

    What was not answered when a connection is lost is sent again on the next one.
    """

    def __init__(
        self,
        make_link: Callable[[], Link],
        prefix: str,
        timeout: float,
        may_warn: Callable[[str], bool],
    ) -> None:
        """Prepare. The names of all keys begin with `prefix`.

        A connection on which a reply takes more than `timeout` seconds counts as lost. `may_warn`
        returns whether it may be logged that Redis cannot be reached for this reason.
        """
        self._make_link = make_link
        self._prefix = "{" + prefix + "}"  # Redis Cluster keeps these keys in one place.
        self._timeout = timeout
        self._queue = deque[tuple[Sequence[Any], OnReply]]()
        self._wake = asyncio.Event()
        self._root = self._server = ""
        self._sent_at_once = self._read_at_once = AT_ONCE
        self._may_warn = may_warn
        self.last = b"0"
        """The id of the last entry that was read."""

    async def run(self, on_connected: Callable[[str], None], on_entry: OnEntry) -> None:
        """Keep the connections until this is cancelled.

        `on_connected` is called with the name of Redis' memory, before what waits is sent on a new
        connection. `on_entry` is called with the server whose inbox was read, and with the fields
        of an entry, each followed by its value.
        """
        while True:
            commands, inbox = links = self._make_link(), self._make_link()
            try:
                async with asyncio.timeout(self._timeout):
                    memory, other = [await link.open() for link in links]
                if memory != other:
                    raise ConnectionError("the address leads to one Redis and then to another")
                on_connected(memory)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._carry_out(commands))
                    group.create_task(self._read(inbox, on_entry))
            except Exception as error:
                # Of processes that lose Redis in the same moment, one is the first to have waited.
                await asyncio.sleep(uniform(0.05, 0.2))
                self._complain(error)
            finally:
                await asyncio.gather(*(link.close() for link in links))

    def begin(self, memory: str, server: str) -> None:
        """Forget what waits, with None as reply, and read this server's inbox from now on."""
        self._root, self._server, self.last = f"{self._prefix}:{memory}", server, b"0"
        queue, self._queue = self._queue, deque()
        for _, on_reply in queue:
            on_reply(None)

    def call(self, args: Sequence[Any], on_reply: OnReply) -> None:
        """Call the script with these arguments."""
        self._add(("EVALSHA", SHA, 1, self._root, *args), on_reply)

    def deliver(self, server: str, fields: Sequence[Any], on_reply: OnReply) -> None:
        """Write an entry into another server's inbox. The reply is None if there is none."""
        self._add(("XADD", f"{self._root}:inbox:{server}", "NOMKSTREAM", "*", *fields), on_reply)

    def _add(self, command: Sequence[Any], on_reply: OnReply) -> None:
        self._queue.append((command, on_reply))
        self._wake.set()

    async def _carry_out(self, link: Link) -> None:
        """Send what waits, and when it is answered, what has come meanwhile."""
        while True:
            while queue := self._queue:
                at_once, self._sent_at_once = self._sent_at_once, self._sent_at_once // 2 or 1
                commands, on_replies = zip(*islice(queue, at_once), strict=True)
                async with asyncio.timeout(self._timeout):
                    replies = await link.ask(commands)
                self._sent_at_once = min(at_once * 2, AT_ONCE)
                for on_reply, reply in zip(on_replies, replies, strict=True):
                    if queue is self._queue:  # Otherwise it was dropped.
                        queue.popleft()
                        on_reply(reply)
            self._wake.clear()
            await self._wake.wait()

    async def _read(self, link: Link, on_entry: OnEntry) -> None:
        """Read the inbox, from where it was read before."""
        block = int(self._timeout * 1000 / 4)
        while True:
            server, inbox = self._server, f"{self._root}:inbox:{self._server}"
            at_once, self._read_at_once = self._read_at_once, self._read_at_once // 2 or 1
            read = "XREAD", "COUNT", at_once, "BLOCK", block, "STREAMS", inbox, self.last
            async with asyncio.timeout(self._timeout):
                (reply,) = await link.ask([read])
            self._read_at_once = min(at_once * 2, AT_ONCE)
            for entry_id, fields in reply[0][1] if reply else ():
                await on_entry(server, fields)
                if server != self._server:
                    break
                self.last = entry_id

    def _complain(self, error: Exception) -> None:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        text = str(error) or "no reply in time"
        if self._may_warn(text):
            unexpected = not isinstance(error, (RedisError, OSError))
            logger.warning("redis: %s", text, exc_info=error if unexpected else None)
