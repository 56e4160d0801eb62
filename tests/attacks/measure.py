"""What honest clients have to bear, in CPU time of the server, and how much memory it has."""

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from urllib.parse import urlsplit

from tests.support.client import Opcode, frame, text_frame, upgrade_request
from tests.support.peer import PING, message
from tests.support.proc import PROC

PACE = 0.005
"""Seconds from one receipt to the next offer."""

SDP = "x" * 7300
"""As long as a browser's offer of audio and video."""

ENOUGH = 150
"""Offers of which a percentile says something: the longest one does not decide it."""

NEWCOMERS = 0.2
"""Seconds between two newcomers."""

PATIENCE = 30.0
"""Seconds that an honest client waits for anything."""

_rooms = count()


class CpuClock:
    """The CPU time of another process.

    It is the clock of clock_getcpuclockid(3), whose number Linux makes of the process id. It is
    exact whenever the process waits. While it computes, the clock goes on with each tick of the
    scheduler, mostly every 4 ms, and so does what `/proc` says.
    """

    def __init__(self, pid: int) -> None:
        self._clock = ~pid << 3 | 2

    def now(self) -> float:
        """Return the CPU time so far in milliseconds."""
        return time.clock_gettime(self._clock) * 1000


def resident(pid: int, *, peak: bool = False) -> float:
    """Return how many MiB of memory a process has now, or has had at most since `forget_peak`."""
    name = "VmHWM" if peak else "VmRSS"
    status = (PROC / str(pid) / "status").read_text()
    found = re.search(rf"^{name}:\s*(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def forget_peak(pid: int) -> None:
    (PROC / str(pid) / "clear_refs").write_text("5")


class Honest:
    """A client that does what browsers do. It blocks: it has a thread that does nothing else."""

    def __init__(self, url: str, room: str) -> None:
        """Connect and join. Raises OSError if that is refused or takes longer than `PATIENCE`."""
        parts = urlsplit(url)
        self._sock = socket.create_connection((parts.hostname, parts.port), PATIENCE)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        try:
            self._sock.sendall(upgrade_request(parts.netloc, parts.path))
            while b"\r\n\r\n" not in self._received:
                self._receive()
            response, _, self._received = self._received.partition(b"\r\n\r\n")
            if not response.startswith(b"HTTP/1.1 101 "):
                raise ConnectionError(response.decode("latin-1"))
            self.id: str = json.loads(self.next())["payload"]["client_id"]
            self._sock.sendall(text_frame(message("join", room_id=room)))
            self.offer(self, "joined")
        except BaseException:
            self.close()
            raise

    def offer(self, to: "Honest", sdp: str) -> None:
        """Send an offer and wait until it is there. It must be the next thing there."""
        self._sock.sendall(text_frame(message("offer", client_id=to.id, sdp=sdp)))
        arrived = to.next()
        expected = message("offer", client_id=self.id, sdp=sdp)
        if arrived != expected:
            raise AssertionError(f"expected {expected:.100}, got {arrived:.100}")

    def next(self) -> str:
        """Return the next text message except the keepalive; answer pings."""
        while True:
            first, length = self._exactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", self._exactly(2))
            payload = self._exactly(length)
            if first == 0x80 | Opcode.PING:
                self._sock.sendall(frame(Opcode.PONG, payload))
            elif (text := payload.decode()) != PING:
                return text

    def close(self) -> None:
        self._sock.close()

    def _exactly(self, number: int) -> bytes:
        while len(self._received) < number:
            self._receive()
        data, self._received = self._received[:number], self._received[number:]
        return data

    def _receive(self) -> None:
        try:
            data = self._sock.recv(1 << 16)
        except TimeoutError:
            raise TimeoutError(f"an honest client has waited for {PATIENCE:g} s") from None
        if not data:
            raise ConnectionError("the server has closed an honest client's connection")
        self._received += data


@dataclass
class Waits:
    """How long honest clients waited, in milliseconds of the server's CPU time."""

    relays: list[float] = field(default_factory=list)
    """From sending an offer to its receipt."""
    newcomers: list[float] = field(default_factory=list)
    """From connecting to the receipt of the newcomer's own first offer."""
    refused: int = 0
    """Newcomers that did not get in."""
    load: float = 0.0
    """The part of a core that the server has used meanwhile."""


class Witnesses:
    """Honest clients in rooms of their own, before, during and after an attack."""

    def __init__(self, url: str, pid: int) -> None:
        self._url = url
        self._clock = CpuClock(pid)
        room = self._room()
        self._first = Honest(url, room)
        self._second = Honest(url, room)
        # The first is told of the second.
        self._first.next()

    def close(self) -> None:
        self._first.close()
        self._second.close()

    def observe(self, seconds: float) -> Waits:
        """Relay offers one by one and let newcomers in, for that many seconds.

        If fewer offers than `ENOUGH` have arrived by then, go on for three times as long at most.
        Raises OSError if an offer does not arrive.
        """
        waits = Waits()
        start, used = time.monotonic(), self._clock.now()
        end = start + seconds
        last = end + 3 * seconds
        newcomers = threading.Thread(target=self._let_in, args=(waits, end))
        newcomers.start()
        try:
            for number in count():
                waits.relays.append(
                    self._cost(partial(self._first.offer, self._second, f"{number}:{SDP}"))
                )
                now = time.monotonic()
                if now >= (end if len(waits.relays) >= ENOUGH else last):
                    break
                time.sleep(PACE)
        finally:
            newcomers.join()
        waits.load = (self._clock.now() - used) / 1000 / (time.monotonic() - start)
        return waits

    def _let_in(self, waits: Waits, end: float) -> None:
        while time.monotonic() < end:
            try:
                waits.newcomers.append(self._cost(self._newcomer))
            except OSError:
                waits.refused += 1
            time.sleep(NEWCOMERS)

    def _newcomer(self) -> None:
        with closing(Honest(self._url, self._room())):
            pass

    def _cost(self, do: Callable[[], None]) -> float:
        start, used = time.monotonic(), self._clock.now()
        do()
        # The clock may have gone on by a tick in less time than that.
        return min(self._clock.now() - used, (time.monotonic() - start) * 1000)

    def _room(self) -> str:
        return f"honest-{next(_rooms)}"
