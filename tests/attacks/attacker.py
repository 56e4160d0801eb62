"""The attacker's process: `python -m tests.attacks.attacker ATTACK URL`.

It prepares the attack and prints `ready`. From one line on standard input to the next it attacks;
then it prints its account as JSON, and its connections end with it.
"""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from process import new_event_loop
from tests.attacks.attack import Attack
from tests.attacks.attacks import ATTACKS
from tests.attacks.clients import Target
from tests.support.server_process import MAIN

NICE = 3
"""By how much the attacker and the server give way to honest clients. Until those run, the server
computes on, and that would count as waiting on a machine with too few cores."""

LIMIT = 180
"""Seconds after which the process ends in any case."""


@dataclass(frozen=True)
class Account:
    """What the attacker did and saw."""

    sent: int
    """Bytes."""
    opened: int
    """Connections."""
    closed: int
    """Connections that the server has ended."""
    heard: int
    """Numbered offers of clients to themselves that have come back, each in its place."""
    disordered: int
    """Those that came in another place."""


class Attacker:
    """The process, seen from outside."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def wait_until_ready(self) -> None:
        if self._line() != "ready\n":
            raise AssertionError("the attack could not be prepared")

    def begin(self) -> None:
        self._say()

    def stop(self) -> Account:
        """Let the attack end and return its account."""
        with suppress(BrokenPipeError):  # It has failed, and has said why on stderr.
            self._say()
        line = self._line()
        if not line:
            raise AssertionError("the attack has failed")
        self._process.wait()
        return Account(**json.loads(line))

    def _say(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def attacker(attack: Attack, url: str) -> Iterator[Attacker]:
    """Prepare an attack in a process of its own. On leaving it has ended, or is killed."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__, attack.name, url],
        cwd=MAIN.parent,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDEVMODE"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            attacking = Attacker(process)
            attacking.wait_until_ready()
            yield attacking
        finally:
            process.kill()


async def run(attack: Attack, url: str) -> Account:
    """Run an attack until it is told to stop. Raises what the attack raises."""
    begun = asyncio.Event()

    async def begin() -> None:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        begun.set()

    async def stop() -> None:
        await begun.wait()
        await asyncio.to_thread(sys.stdin.readline)

    target = Target(url, begin)
    attacking = asyncio.ensure_future(attack.run(target))
    stopping = asyncio.ensure_future(stop())
    await asyncio.wait({attacking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if attacking.done():
        await attacking
        await stopping
    account = Account(target.sent, target.opened, target.closed, target.heard, target.disordered)
    attacking.cancel()
    return account


def main(name: str, url: str) -> None:
    os.nice(NICE)
    signal.alarm(LIMIT)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        account = runner.run(run(ATTACKS[name], url))
        print(json.dumps(asdict(account)), flush=True)
        os._exit(0)  # Without taking leave of each connection.


if __name__ == "__main__":
    main(*sys.argv[1:])
