"""Limits how many connections there may be, for all addresses together and for each of them."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from math import ceil
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from time import monotonic
from typing import Protocol

from tornado.httputil import HTTPServerRequest

from edge.door import Refused

MAX_SOURCES = 65536
"""Sources whose rate is known. Beyond, the one whose last attempt was the longest ago is forgotten,
so that an attack from very many takes no more than 11 MB."""

MINUTE = 60.0

ALL = "all"
"""The name by which all connections are counted, which is no address."""

_IPV4 = bytes(10) + b"\xff\xff"
"""What an address of IPv4 begins with that is written as one of IPv6 (RFC 4291, section 2.5.5)."""


class Rate:
    """A rate for each source: so many attempts at once, and as many in a minute after that.

    This is the generic cell rate algorithm (ITU-T I.371): all that is known of a source is when it
    will have paid for its attempts. Times are in seconds, of any clock that only goes forward.
    """

    def __init__(self, per_minute: int) -> None:
        self._interval = MINUTE / per_minute
        # Half an interval is for rounding errors.
        self._credit = MINUTE - self._interval / 2
        self._paid: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paid)

    def wait(self, source: str, now: float) -> float:
        """Return how long the source has to wait before its next attempt; 0.0 for not at all."""
        return max(self._paid.get(source, now) - now - self._credit, 0.0)

    def spend(self, source: str, now: float) -> None:
        """Charge the source for an attempt."""
        paid = self._paid
        paid[source] = max(paid.get(source, now), now) + self._interval
        paid.move_to_end(source)
        # Those which have paid are as good as unknown. At most two, so that this never takes long.
        for _ in range(2):
            if next(iter(paid.values())) <= now or len(paid) > MAX_SOURCES:
                paid.popitem(last=False)


class Counts:
    """Counts of one process by name."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str, amount: int) -> None:
        self._counts[name] += amount
        if not self._counts[name]:
            del self._counts[name]

    def count(self, name: str) -> int:
        return self._counts[name]


class Shared(Protocol):
    """What several processes know together; see `workers.tallies`."""

    def add(self, name: str, amount: int) -> None: ...
    def count(self, name: str) -> int: ...
    def put(self, name: str, time: float) -> None: ...
    def time(self, name: str) -> float: ...


class SharedRate(Rate):
    """A rate of attempts at several processes."""

    def __init__(self, per_minute: int, shared: Shared) -> None:
        super().__init__(per_minute)
        self._shared = shared

    def wait(self, source: str, now: float) -> float:
        return max(self._shared.time(source) - now - self._credit, 0.0)

    def spend(self, source: str, now: float) -> None:
        self._shared.put(source, max(self._shared.time(source), now) + self._interval)


class ConnectionLimits:
    """Counts WebSockets that are open, and attempts to open one. 0 stands for no limit."""

    def __init__(
        self,
        most: int = 0,
        most_per_address: int = 0,
        rate: int = 0,
        clock: Callable[[], float] = monotonic,
        shared: Shared | None = None,
    ) -> None:
        """`most` may be open, `most_per_address` from one, which has `rate` attempts a minute.

        With `shared`, those of all processes are counted that share it.
        """
        self._most = most
        self._most_per_source = most_per_address
        self._rate: Rate | None = None
        if rate:
            self._rate = Rate(rate) if shared is None else SharedRate(rate, shared)
        self._clock = clock
        self._open = Counts() if shared is None else shared

    def check(self, request: HTTPServerRequest) -> None:
        source = source_of(request.remote_ip or "")
        self._check_rate(source)
        self._check_room(source)

    def enter(self, request: HTTPServerRequest) -> None:
        """Charge the address for an attempt, even if that is refused because all is full.

        An attempt beyond the rate is free: a client that tries too often does not make others at
        its address wait longer.
        """
        source = source_of(request.remote_ip or "")
        self._check_rate(source)
        if self._rate is not None:
            self._rate.spend(source, self._clock())
        self._check_room(source)

    def opened(self, address: str) -> None:
        self._open.add(ALL, 1)
        self._open.add(source_of(address), 1)

    def closed(self, address: str) -> None:
        self._open.add(ALL, -1)
        self._open.add(source_of(address), -1)

    def _check_rate(self, source: str) -> None:
        wait = 0.0 if self._rate is None else self._rate.wait(source, self._clock())
        if wait:
            seconds = str(ceil(wait))
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "full", {"Retry-After": seconds})

    def _check_room(self, source: str) -> None:
        if self._most and self._open.count(ALL) >= self._most:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "full")
        if self._most_per_source and self._open.count(source) >= self._most_per_source:
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "full")


def source_of(address: str) -> str:
    """Return what counts as one address: one of IPv4, or 64 bits of one of IPv6.

    A host chooses the other 64 bits itself, and may change them (RFC 8981).
    """
    if ":" not in address:
        return address
    ip = inet_pton(AF_INET6, address.partition("%")[0])
    if ip.startswith(_IPV4):
        return inet_ntop(AF_INET, ip[len(_IPV4) :])
    return ip[:8].hex()
