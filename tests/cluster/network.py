"""What is between the servers and Redis: connections that delay, freeze and break."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from random import Random
from typing import Any

from services.redis_bus import SCRIPT
from tests.cluster.redis_stand_in import RedisStandIn, Reply, Value
from tests.cluster.virtual import VirtualLoop


class Network:
    """Redis, and how fast one gets there."""

    def __init__(self, loop: VirtualLoop, random: Random, log: Callable[..., None]) -> None:
        self.loop = loop
        self.log = log
        self.random = random
        self.redis = RedisStandIn(loop.time, SCRIPT)
        self.is_up = True
        self.frozen_until = 0.0
        """Until when Redis stands still."""
        self.typical_delay = 0.001

    def delay(self) -> float:
        """Return how long a command or a reply is under way."""
        if self.random.random() < 0.9:
            return self.random.expovariate(1 / self.typical_delay)
        return self.random.uniform(0, 20 * self.typical_delay)


class Port:
    """The way from one server to Redis."""

    def __init__(self, name: str, network: Network, loop: VirtualLoop) -> None:
        self.name = name
        self.network = network
        self.loop = loop
        self.is_cut = False
        self.links: list[VirtualLink] = []

    def make_link(self) -> "VirtualLink":
        return VirtualLink(self)

    def open_links(self) -> "list[VirtualLink]":
        self.links = [link for link in self.links if not link.is_broken]
        return self.links


class VirtualLink:
    """One connection, with the methods of services.redis_bus.Link.

    Commands and replies keep their order. When it breaks, replies that are under way are lost, and
    so are commands except for the first few, which are carried out at some time, perhaps after
    those of the next connection.
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self._network = port.network
        self._loop = port.loop
        self._under_way: deque[Sequence[Value]] = deque()
        self._returning: deque[Reply] = deque()
        self._received: asyncio.Queue[Any] = asyncio.Queue()
        self._arrives = self._returns = 0.0
        self._frozen_until = 0.0
        self.is_broken = False

    # What the bus calls

    async def open(self) -> str:
        self._port.links.append(self)
        # One round trip to connect, and one for the commands.
        await asyncio.sleep(self._network.delay() + self._network.delay())
        if self._port.is_cut or not self._network.is_up:
            raise ConnectionRefusedError("refused")
        (memory,) = await self.ask([("INFO", "server")])
        return str(memory)

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Reply]:
        for command in commands:
            self._transmit(command)
        return [await self._receive() for _ in commands]

    async def close(self) -> None:
        self.break_off(noticed=False)

    # What the world calls

    def freeze(self, seconds: float) -> None:
        """Hold up everything, in both directions; for ever if that is infinity."""
        self._frozen_until = self._network.loop.time() + seconds

    def break_off(self, *, noticed: bool) -> None:
        """Lose the connection; the server notices at once, or by its timeout."""
        if self.is_broken:
            return
        self.is_broken = True
        network = self._network
        at, run_id = network.loop.time(), network.redis.run_id

        def carry_out(command: Sequence[Value]) -> None:
            if network.is_up and network.redis.run_id == run_id:
                self._execute(command)

        if not network.random.randrange(4):
            self._under_way.clear()
        for _ in range(network.random.randint(0, len(self._under_way))):
            at += network.random.choice([0, network.delay(), network.random.uniform(0, 2)])
            network.loop.call_at(at, carry_out, self._under_way.popleft())
        if noticed:
            self._loop.call_soon(self._received.put_nowait, ConnectionResetError("reset"))

    # The way there and back

    async def _receive(self) -> Reply:
        reply = await self._received.get()
        if isinstance(reply, OSError):
            raise reply
        return reply

    def _transmit(self, command: Sequence[Value]) -> None:
        if self.is_broken:
            return
        self._under_way.append(command)
        self._arrives = max(self._arrives, self._loop.time() + self._network.delay())
        self._network.loop.call_at(self._arrives, self._arrive)

    def _held_up(self, continue_: Callable[[], None], until: float) -> bool:
        """Return whether nothing happens now; call again when that is over, if ever."""
        if until <= self._network.loop.time():
            return False
        if until < inf:
            self._network.loop.call_at(until, continue_)
        return True

    def _arrive(self) -> None:
        """Carry out a command in Redis."""
        until = max(self._frozen_until, self._network.frozen_until)
        if self.is_broken or self._held_up(self._arrive, until):
            return
        command = self._under_way.popleft()
        reply = self._execute(command)
        if reply is None and command[0] == "XREAD":
            self._block(command)
        else:
            self._answer(reply)

    def _execute(self, command: Sequence[Value]) -> Reply:
        reply = self._network.redis.execute(command)
        if command[0] != "XREAD":
            self._network.log(f"  Redis for {self._port.name}:", *command[4:], "->", reply)
        return reply

    def _block(self, command: Sequence[Value]) -> None:
        """Answer XREAD when there is something, or when it has waited long enough."""
        _, _, _, _, milliseconds, _, key, _ = command
        end = self._network.loop.call_later(int(milliseconds) / 1000, self._answer, None)

        def read() -> None:
            if not end.cancelled() and end.when() > self._network.loop.time():
                end.cancel()
                self._answer(self._network.redis.execute(command))

        self._network.redis.wait(key, read)

    def _answer(self, reply: Reply) -> None:
        if self.is_broken:
            return
        self._returning.append(reply)
        self._returns = max(self._returns, self._network.loop.time() + self._network.delay())
        self._network.loop.call_at(self._returns, self._return)

    def _return(self) -> None:
        """Let the server have a reply."""
        if self.is_broken or self._held_up(self._return, self._frozen_until):
            return
        self._loop.call_soon(self._received.put_nowait, self._returning.popleft())
