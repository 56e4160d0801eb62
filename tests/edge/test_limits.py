"""How many connections there may be, and how often one may be tried."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from config.config import Config, ConfigError
from edge import limits
from edge.door import Door, Refused
from edge.limits import ConnectionLimits, Rate, source_of
from tests.support.client import HandshakeError, Response, http, upgrade_request
from tests.support.peer import Peer
from tests.support.server_process import TRANSPORTS, ServerProcess, Transport, server_process

A, B, C = "127.0.0.2", "127.0.0.3", "127.0.0.4"
LET_IN = (101, None)


@contextmanager
def limited(transport: Transport = "auto", *flags: str, **limits: int) -> Iterator[ServerProcess]:
    """Run a server with these settings."""
    env = {f"SIGNALING_{name.upper()}": str(value) for name, value in limits.items()}
    with server_process(*flags, env=env | {"SIGNALING_TRANSPORT": transport}) as server:
        yield server


async def get(server: ServerProcess, path: str, source: str) -> Response:
    host = urlsplit(server.url).netloc
    return await http(server.url, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), source)


async def asked(server: ServerProcess, source: str) -> tuple[int, str | None]:
    """Return what `/ice-servers` would have a handshake answered with, and the reason."""
    response = await get(server, "/ice-servers", source)
    if response.status == 200:
        return LET_IN
    return response.status, json.loads(response.body)["reason"]


async def tried(server: ServerProcess, source: str) -> Response:
    """Return the response to a handshake; the connection is reset then."""
    request = upgrade_request(urlsplit(server.url).netloc, "/connect")
    return await http(server.url, request, source)


async def refused(server: ServerProcess, source: str) -> tuple[int, str]:
    """Return status and reason of a handshake that is refused. `/ice-servers` says the same."""
    response = await tried(server, source)
    reason = response.body.decode().removesuffix("\n")
    assert await asked(server, source) == (response.status, reason)
    return response.status, reason


async def let_in(server: ServerProcess, source: str) -> Peer:
    """Connect as soon as there is room again, which does not take long."""
    async with asyncio.timeout(10):
        while await asked(server, source) != LET_IN:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return await Peer.connect(server.url, source=source)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_max_connections(transport: Transport) -> None:
    """They are counted for all addresses together, and a place is free when its client goes."""
    with limited(transport, "-demo", max_connections=2) as server:
        one = await Peer.connect(server.url, source=A)
        two = await Peer.connect(server.url, source=B)
        await two.join("room")
        assert await refused(server, A) == (503, "full")
        assert await refused(server, C) == (503, "full")
        # A client that is in goes on to be told the ICE servers.
        assert (await get(server, f"/ice-servers?client_id={one.id}", A)).status == 200
        assert (await get(server, "/ice-servers?client_id=me", A)).status == 503
        # So does one that knows no id yet.
        assert (await get(server, "/ice-servers?connected=1", A)).status == 200
        assert (await get(server, "/health", C)).status == 200
        assert (await get(server, "/ready", C)).status == 200
        assert (await get(server, "/", C)).status == 200
        await one.close()
        three = await let_in(server, C)
        assert await refused(server, A) == (503, "full")
        three.reset()
        four = await let_in(server, A)
        assert await two.received() == []
        two.abort()
        four.abort()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_max_connections_for_a_crowd(transport: Transport) -> None:
    """However many come at once, no more than that are let in."""
    with limited(transport, max_connections=5) as server:
        attempts = [Peer.connect(server.url) for _ in range(60)]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        refusals = [error.response.status for error in results if isinstance(error, HandshakeError)]
        assert refusals == [503] * 55
        for peer in results:
            if isinstance(peer, Peer):
                peer.abort()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_max_connections_per_address(transport: Transport) -> None:
    with limited(transport, max_connections_per_address=2) as server:
        one, two = [await Peer.connect(server.url, source=A) for _ in range(2)]
        assert await refused(server, A) == (429, "full")
        other = await Peer.connect(server.url, source=B)
        await one.close()
        three = await let_in(server, A)
        assert await refused(server, A) == (429, "full")
        for peer in (two, three, other):
            peer.abort()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_does_not_stay_takes_no_place(transport: Transport) -> None:
    """That holds for clients that are gone before they have read anything."""
    with limited(transport, max_connections=3) as server:
        for _ in range(30):
            assert (await tried(server, A)).status in (101, 503)
        peers = [await let_in(server, A) for _ in range(3)]
        assert await refused(server, A) == (503, "full")
        for peer in peers:
            peer.abort()


async def test_ipv4_as_ipv6() -> None:
    """On a socket for both, clients over IPv4 have addresses that begin with `::ffff:`."""
    with limited("auto", "-addr", "0.0.0.0", max_connections_per_address=1) as server:
        server.host = "127.0.0.1"
        peers = [await Peer.connect(server.url, source=source) for source in (A, B)]
        assert await refused(server, A) == (429, "full")
        for peer in peers:
            peer.abort()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_connection_rate(transport: Transport) -> None:
    """An address may try three times at once, if it may three times a minute."""
    with limited(transport, connection_rate=3) as server:
        for _ in range(10):
            assert await asked(server, A) == LET_IN
        for _ in range(3):
            assert (await tried(server, A)).status == 101
        response = await tried(server, A)
        assert (response.status, response.body) == (429, b"full\n")
        assert 1 <= int(response.headers["retry-after"]) <= 20
        response = await get(server, "/ice-servers", A)
        assert (response.status, json.loads(response.body)) == (429, {"reason": "full"})
        assert 1 <= int(response.headers["retry-after"]) <= 20
        assert response.headers["access-control-expose-headers"] == "Retry-After"
        assert (await get(server, "/health", A)).status == 200
        assert (await tried(server, B)).status == 101


async def test_a_refusal_counts_as_an_attempt() -> None:
    with limited(max_connections=1, connection_rate=3) as server:
        inside = await Peer.connect(server.url, source=B)
        for _ in range(3):
            response = await tried(server, A)
            assert response.status == 503
            assert "retry-after" not in response.headers
        assert (await tried(server, A)).status == 429
        assert await inside.received() == []
        inside.abort()


# Without a server


def test_rate() -> None:
    """So many attempts at once, and then one when its part of the minute is over."""
    rate = Rate(per_minute=6)
    for _ in range(6):
        assert rate.wait("a", 1000.0) == 0.0
        rate.spend("a", 1000.0)
    assert 0.0 < rate.wait("a", 1000.0) <= 10.0
    assert rate.wait("b", 1000.0) == 0.0
    assert rate.wait("a", 1010.0) == 0.0
    rate.spend("a", 1010.0)
    assert rate.wait("a", 1010.0) > 0.0
    # After a while all of them are there again, and no more.
    for _ in range(6):
        assert rate.wait("a", 5000.0) == 0.0
        rate.spend("a", 5000.0)
    assert rate.wait("a", 5000.0) > 0.0


@pytest.mark.parametrize("per_minute", [1, 7, 60, 997])
def test_a_rate_is_exact(per_minute: int) -> None:
    """Whoever tries all the time gets that many a minute, besides those at once."""
    rate, now, number = Rate(per_minute), 987_654.321, 0
    end = now + 180.0
    while now < end:
        if wait := rate.wait("a", now):
            now += wait + 1e-6
        else:
            rate.spend("a", now)
            number += 1
    assert abs(number - 4 * per_minute) <= 1


def test_who_waits_as_long_as_is_said_is_let_in() -> None:
    rate = Rate(per_minute=7)
    now = 1000.0
    for _ in range(100):
        now += rate.wait("a", now)
        assert rate.wait("a", now + 1e-6) == 0.0
        rate.spend("a", now + 1e-6)


def test_a_rate_forgets() -> None:
    """Addresses that have paid are forgotten when others come, two at a time."""
    rate = Rate(per_minute=60)
    for number in range(1000):
        rate.spend(str(number), 0.0)
    assert len(rate) == 1000
    for number in range(1000):
        rate.spend(f"new {number}", 1.0 + number)
    assert len(rate) == 1


def test_a_rate_remembers_a_limited_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has tried last is not the one that is forgotten."""
    monkeypatch.setattr(limits, "MAX_SOURCES", 100)
    rate = Rate(per_minute=1)
    for number in range(1000):
        rate.spend("busy", 0.0)
        rate.spend(str(number), 0.0)
    assert len(rate) == 100
    assert rate.wait("busy", 0.0) > 59.0
    assert rate.wait("0", 0.0) == 0.0
    assert rate.wait("999", 0.0) > 0.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("fe80::1%lo", "fe80::2"),
    ],
)
def test_addresses_that_count_as_one(one: str, other: str) -> None:
    assert source_of(one) == source_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8::1", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("192.0.2.1", "192.0.2.2"),
        ("::1", "127.0.0.1"),
    ],
)
def test_addresses_that_do_not(one: str, other: str) -> None:
    assert source_of(one) != source_of(other)


def request(address: str = A) -> HTTPServerRequest:
    start_line = RequestStartLine("GET", "/connect", "HTTP/1.1")
    request = HTTPServerRequest(start_line=start_line, headers=HTTPHeaders({"Host": "a"}))
    request.remote_ip = address
    return request


def test_only_what_was_open_is_counted_no_more() -> None:
    """A client that is let in and whose connection never opens takes no place, and gives none."""
    door = Door(limits=ConnectionLimits(most=1, most_per_address=1))
    lost, inside = door.enter(request()), door.enter(request())
    inside.opened()
    lost.closed()
    with pytest.raises(Refused):
        door.enter(request())
    inside.closed()
    inside.closed()
    door.enter(request()).opened()
    with pytest.raises(Refused):
        door.enter(request())


def test_the_clock() -> None:
    """What the time of a refusal says is what it takes."""
    now = 0.0
    door = Door(limits=ConnectionLimits(rate=6, clock=lambda: now))
    for _ in range(6):
        door.enter(request())
    with pytest.raises(Refused) as error:
        door.check(request())
    now = float(error.value.headers["Retry-After"])
    door.check(request())
    door.enter(request())


def test_nothing_is_kept_of_who_is_gone() -> None:
    limits = ConnectionLimits(most_per_address=1)
    door = Door(limits=limits)
    for number in range(100):
        visitor = door.enter(request(f"2001:db8:0:{number}::1"))
        visitor.opened()
        visitor.closed()
    assert not limits._open._counts  # type: ignore[union-attr]


def test_settings() -> None:
    config = Config.from_environ(
        {
            "SIGNALING_MAX_CONNECTIONS": "1",
            "SIGNALING_MAX_CONNECTIONS_PER_ADDRESS": "2",
            "SIGNALING_CONNECTION_RATE": "3",
        }
    )
    assert (config.max_connections, config.max_connections_per_address) == (1, 2)
    assert config.connection_rate == 3


@pytest.mark.parametrize(
    ("variable", "text", "what"),
    [
        ("MAX_CONNECTIONS", "-1", "a number of connections from 0 "),
        ("MAX_CONNECTIONS_PER_ADDRESS", "many", "a number of connections from 0 "),
        ("CONNECTION_RATE", "0.5", "a number of connections from 0 "),
    ],
)
def test_invalid_settings(variable: str, text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f"^SIGNALING_{variable}='{text}' is not {what}"):
        Config.from_environ({f"SIGNALING_{variable}": text})
