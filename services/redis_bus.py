"""The connections to Redis or Valkey: one for calls of the script, one that waits at the inbox.

Both are redis-py's, which knows passwords, TLS and sockets. Its client is left out: it would take a
task and a connection for each command.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1
from itertools import islice
from pathlib import Path
from random import uniform
from typing import Any, Final, Protocol

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("clustering.lua").read_bytes()
SHA = sha1(SCRIPT).hexdigest()

OLDEST = 6, 2
"""The version of Redis that is needed. Older ones cannot trim a stream by the id of an entry."""
AT_ONCE = 128
"""Entries that are read from the inbox at once, and about as many that were read stay in it. If
they do not come in time, half as many are read. Also the commands that are sent at once."""
PORTION = 256 * 1024
"""Bytes of messages after which no more commands are sent at once."""
COMPLAINTS = 60.0
"""Seconds between two records that say why Redis cannot be reached."""

Reply = Any
"""bytes, int, None, or a list of them."""
DROPPED: Final = object()
"""Takes the place of a reply: the command was not carried out, or nobody knows."""
OnEntries = Callable[[str, Sequence[Sequence[bytes]]], Awaitable[None]]


class Times(Protocol):
    """Times by name, such as a dictionary has."""

    def get(self, name: str, default: float, /) -> float: ...
    def __setitem__(self, name: str, time: float, /) -> None: ...


@dataclass
class Link:
    """A connection."""

    connection: AbstractConnection
    memory: str = ""
    """The name of what Redis remembers: another after a restart or a failover."""

    @classmethod
    def to(cls, url: str) -> "Link":
        """Return one that is not open yet. Raises ValueError or TypeError for the URL's options."""
        arguments: dict[str, Any] = dict(parse_url(url))
        kind: type[AbstractConnection] = arguments.pop("connection_class", Connection)
        return cls(kind(**{**arguments, "protocol": 2, "socket_timeout": None}))

    @classmethod
    async def open(cls, url: str) -> "Link":
        """Connect. Raises RedisError or OSError, also if that Redis is too old."""
        link = cls.to(url)
        try:
            await link.connection.connect()  # type: ignore[no-untyped-call]
            info, _ = await link.ask([("INFO", "server"), ("SCRIPT", "LOAD", SCRIPT)])
            about = dict(line.split(":", 1) for line in info.decode().split("\r\n") if ":" in line)
            version = about["redis_version"]
            if tuple(map(int, version.split(".")[:2])) < OLDEST:
                raise RedisError(f"version {version} is too old, it takes {OLDEST[0]}.{OLDEST[1]}")
            link.memory = about["run_id"][:12]
        except BaseException:
            await link.close()
            raise
        return link

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Reply]:
        """Send commands and return their replies. Raises RedisError or OSError."""
        if not self.connection.is_connected:  # It would connect again by itself.
            raise ConnectionError("the connection is closed")
        packed = self.connection.pack_commands(commands)
        try:
            await self.connection.send_packed_command(packed, check_health=False)
        except RuntimeError as error:  # uvloop's, if it was lost while nobody read from it.
            raise ConnectionError("the connection is lost") from error
        return [await self.connection.read_response() for _ in commands]

    async def close(self) -> None:
        await self.connection.disconnect(nowait=True)


@dataclass(slots=True)
class _Command:
    parts: Sequence[Any]
    on_reply: Callable[[Reply], None]
    size: int
    dropped: bool = False


class RedisBus:
    """Has commands carried out in order, and reads the inbox.

    What was not answered when a connection is lost is sent again on the next one.
    """

    def __init__(
        self,
        open_link: Callable[[], Awaitable[Link]],
        prefix: str,
        timeout: float,
        warned: Times | None = None,
    ) -> None:
        """Prepare. The names of all keys begin with `prefix`.

        A connection on which a reply takes more than `timeout` seconds counts as lost. If several
        processes share `warned`, only one of them says why Redis cannot be reached.
        """
        self._open_link = open_link
        self._prefix = "{" + prefix + "}"  # Redis Cluster keeps these keys in one place.
        self._timeout = timeout
        self._queue: deque[_Command] = deque()
        self._wake = asyncio.Event()
        self._memory = self._root = self._server = ""
        self._last = b"0"
        self._begun = asyncio.Event()
        self._at_once = AT_ONCE
        self._link: Link | None = None
        self._warned: Times = {} if warned is None else warned
        self.waiting = 0
        """Bytes that wait to be delivered."""

    async def run(self, on_connected: Callable[[str], None], on_entries: OnEntries) -> None:
        """Keep the connections until this is cancelled.

        `on_connected` is called with the name of Redis' memory, before what waits is sent on a new
        connection. `on_entries` is called with the server whose inbox was read, and with the fields
        of the entries, each followed by its value.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(lambda link: self._carry_out(link, on_connected)))
            group.create_task(self._keep(lambda link: self._read(link, on_entries)))

    async def flush(self) -> None:
        """Wait until everything is answered, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self._timeout, 1)):
                while self._queue:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)

    def begin(self, memory: str, server: str) -> None:
        """Forget what waits, with DROPPED as reply, and read this server's inbox from now on."""
        queue, self._queue, self.waiting = self._queue, deque(), 0
        for command in queue:
            command.dropped = True
            command.on_reply(DROPPED)
        self._memory, self._root = memory, f"{self._prefix}:{memory}"
        self._server, self._last = server, b"0"
        self._begun.set()

    def call(self, args: Sequence[Any], on_reply: Callable[[Reply], None]) -> None:
        """Call the script with these arguments."""
        self._add(_Command(("EVALSHA", SHA, 1, self._root, *args), on_reply, 0))

    def deliver(self, server: str, data: bytes, on_reply: Callable[[Reply], None]) -> None:
        """Write into another server's inbox. The reply is None if there is none."""
        parts = "XADD", f"{self._root}:inbox:{server}", "NOMKSTREAM", "*", "b", data
        self._add(_Command(parts, on_reply, len(data)))

    def _add(self, command: _Command) -> None:
        self._queue.append(command)
        self.waiting += command.size
        self._wake.set()

    async def _keep(self, serve: Callable[[Link], Awaitable[None]]) -> None:
        """Serve on one connection after another."""
        while True:
            failure: Exception | None = None
            try:
                async with asyncio.timeout(self._timeout):
                    link = await self._open_link()
                try:
                    await serve(link)
                finally:
                    await link.close()
            except Exception as error:
                failure = error
            # Of processes that lose Redis in the same moment, one is the first to have waited.
            await asyncio.sleep(uniform(0.05, 0.2))
            if failure is not None:
                self._complain(failure)

    def _complain(self, error: Exception) -> None:
        """Say why Redis cannot be reached, if nobody has said so lately."""
        text = str(error) or "no reply in time"
        now = asyncio.get_running_loop().time()
        if now >= self._warned.get(text, 0.0):
            self._warned[text] = now + COMPLAINTS
            unexpected = None if isinstance(error, (RedisError, OSError)) else error
            logger.warning("redis: %s", text, exc_info=unexpected)

    async def _carry_out(self, link: Link, on_connected: Callable[[str], None]) -> None:
        """Send what waits, and when it is answered, what has come meanwhile."""
        on_connected(link.memory)
        self._link = link
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while commands := self._portion():
                async with asyncio.timeout(self._timeout):
                    replies = await link.ask([command.parts for command in commands])
                for command, reply in zip(commands, replies, strict=True):
                    if not command.dropped:
                        self._queue.popleft()
                        self.waiting -= command.size
                        command.on_reply(reply)

    def _portion(self) -> list[_Command]:
        """Return the first commands that wait, no more than can be sent and answered in time."""
        commands, size = list[_Command](), 0
        for command in islice(self._queue, AT_ONCE):
            commands.append(command)
            size += command.size
            if size >= PORTION:
                break
        return commands

    async def _read(self, link: Link, on_entries: OnEntries) -> None:
        """Read the inbox, from where it was read before."""
        block, count, reply = int(self._timeout * 1000 / 4), 0, None
        await self._begun.wait()
        if link.memory != self._memory and self._link is not None:
            await self._link.close()  # The address leads to another Redis now.
            return
        while link.memory == self._memory:
            server, last = self._server, self._last
            inbox = f"{self._root}:inbox:{server}"
            at_once, self._at_once = self._at_once, max(self._at_once // 2, 1)
            async with asyncio.timeout(self._timeout):
                if count >= AT_ONCE or (count and not reply):
                    await link.ask([("XTRIM", inbox, "MINID", last)])
                    count = 0
                read = "XREAD", "COUNT", at_once, "BLOCK", block, "STREAMS", inbox, last
                (reply,) = await link.ask([read])
            self._at_once = min(at_once * 2, AT_ONCE)
            if reply and server == self._server:
                entries = reply[0][1]
                await on_entries(server, [fields for _, fields in entries])
                if server == self._server:
                    self._last = entries[-1][0]
                    count += len(entries)
