"""`SIGNALING_TRUSTED_PROXIES`: from where a client comes whose connection a proxy makes."""

import asyncio
import re
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_network
from urllib.parse import urlsplit

import pytest

from config.config import Config, ConfigError
from tests.support.client import TIME_LIMIT, Client, Connection, read_response, upgrade_request
from tests.support.peer import Peer
from tests.support.server_process import TRANSPORTS, ServerProcess, server_process
from tests.support.waiting import until
from transport.proxy_protocol import MAX_REST, SIGNATURE

PROXY, OTHER_PROXY, STRANGER = "127.0.0.2", "127.0.0.3", "127.0.0.9"
CLIENT = "203.0.113.7"


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """Serve one client for each address, so that `/ice-servers` shows who is there."""
    env = {
        "SIGNALING_TRUSTED_PROXIES": "127.0.0.2/31, 10.0.0.0/8,2001:db8:1::/48",
        "SIGNALING_MAX_CONNECTIONS_PER_ADDRESS": "1",
        "SIGNALING_TRANSPORT": request.param,
    }
    with server_process(env=env) as server:
        yield server


async def address_of(server: ServerProcess, peer: Peer) -> str:
    """Return the address that the log has for a peer, which is gone then."""
    await peer.join(f"room of {peer.id}")
    match = await asyncio.to_thread(server.wait_for_line, f"client {peer.id} at (\\S+) joined")
    await peer.close()
    # Its place is free when it is gone, and the next one may have the same address.
    await asyncio.to_thread(server.wait_for_line, f"client {peer.id} left")
    return match[1]


async def seen(server: ServerProcess, forwarded: str = "", source: str = PROXY) -> str:
    """Return the address of a client whose request comes with this X-Forwarded-For."""
    headers = {"X-Forwarded-For": forwarded}
    return await address_of(server, await Peer.connect(server.url, headers=headers, source=source))


async def is_free(server: ServerProcess, before: bytes) -> bool:
    """Return whether the client whose request comes after this might connect."""
    proxy = await Connection.open(server.url, source=PROXY)
    host = urlsplit(server.url).netloc
    await proxy.send(before + f"GET /ice-servers HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    response = await read_response(proxy.reader)
    proxy.abort()
    assert response.status in (200, 429)
    return response.status == 200


async def until_free(server: ServerProcess, before: bytes) -> None:
    async with asyncio.timeout(TIME_LIMIT):
        while not await is_free(server, before):
            pass


# X-Forwarded-For


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("", PROXY),
        (CLIENT, CLIENT),
        (f"198.51.100.1, {CLIENT}", CLIENT),
        (f"198.51.100.1,{CLIENT} ,\t10.1.2.3, {OTHER_PROXY}", CLIENT),
        (f"198.51.100.1\r\nX-Forwarded-For: {CLIENT}\r\nX-Forwarded-For: 10.1.2.3", CLIENT),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("2001:db8:2::1, 2001:db8:1::1", "2001:db8:2::1"),
        ("::ffff:203.0.113.7, ::ffff:10.0.0.1", CLIENT),
        # With a port, as some have it.
        (f"{CLIENT}:4711", CLIENT),
        ("[2001:db8:2::1]:4711, [2001:db8:1::1]", "2001:db8:2::1"),
        # Something else than an address.
        ("unknown", PROXY),
        (f"{CLIENT}, unknown", PROXY),
        (f"{CLIENT}, _hidden, 10.0.0.1", "10.0.0.1"),
        (f"{CLIENT},", PROXY),
        (f"{CLIENT}, 10.0.0.1:", PROXY),
        (f"{CLIENT}, 10.0.0.256", PROXY),
        (f"{CLIENT}, fe80::1%joined", PROXY),
        (f"{CLIENT}, 2001:db8:1::1]:1", PROXY),
        (f'{CLIENT}, "10.0.0.1"', PROXY),
    ],
)
async def test_forwarded_for(server: ServerProcess, forwarded: str, address: str) -> None:
    """The client is the rightmost address that is no trusted proxy's."""
    assert await seen(server, forwarded) == address


async def test_forwarded_for_by_a_stranger(server: ServerProcess) -> None:
    """It is ignored, and the log says so once."""
    assert await seen(server, CLIENT, STRANGER) == STRANGER
    assert await seen(server, CLIENT, STRANGER) == STRANGER
    warnings = [line for line in server.lines if "X-Forwarded-For" in line]
    assert len(warnings) == 1
    assert f"WARNING X-Forwarded-For from {STRANGER} is ignored" in warnings[0].replace("  ", " ")


async def test_forwarded_for_without_the_setting() -> None:
    with server_process() as server:
        assert await seen(server, CLIENT) == PROXY
        assert not any("X-Forwarded-For" in line for line in server.lines)


async def test_a_proxy_on_a_socket_for_ipv4_and_ipv6() -> None:
    """Its address is `::ffff:127.0.0.2` there."""
    env = {"SIGNALING_TRUSTED_PROXIES": PROXY}
    with server_process("-addr", "0.0.0.0", env=env) as server:
        server.host = "127.0.0.1"
        assert await seen(server, CLIENT) == CLIENT
        assert await seen(server, CLIENT, OTHER_PROXY) == OTHER_PROXY
        peer = await Peer.connect(server.url, source=PROXY, before=header(CLIENT))
        assert await address_of(server, peer) == CLIENT


async def test_requests_of_several_clients_on_one_connection(server: ServerProcess) -> None:
    """A proxy keeps its connections, and each request on one may be another client's."""
    inside = await Peer.connect(server.url, headers={"X-Forwarded-For": CLIENT}, source=PROXY)
    proxy = await Connection.open(server.url, source=PROXY)
    host = urlsplit(server.url).netloc
    for client, status in ((CLIENT, 429), ("203.0.113.8", 200), (CLIENT, 429)):
        lines = f"GET /ice-servers HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {client}\r\n\r\n"
        await proxy.send(lines.encode())
        assert (await read_response(proxy.reader)).status == status
    await address_of(server, inside)
    proxy.abort()


# The PROXY protocol


def header(
    client: str = CLIENT,
    *,
    command: int = 0x21,
    kind: int | None = None,
    addresses: bytes | None = None,
    tlvs: bytes = b"",
) -> bytes:
    """Return a header for a connection from `client`, or one with these parts."""
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    if addresses is None:
        ip = socket.inet_pton(family, client)
        addresses = ip + ip + struct.pack("!HH", 4711, 443)
    if kind is None:
        kind = 0x21 if family == socket.AF_INET6 else 0x11
    rest = addresses + tlvs
    return SIGNATURE + struct.pack("!BBH", command, kind, len(rest)) + rest


TLV = b"\x05\x00\x04name"


@pytest.mark.parametrize(
    ("before", "address"),
    [
        (header(), CLIENT),
        (header("2001:db8:2::1"), "2001:db8:2::1"),
        (header("::ffff:203.0.113.7"), CLIENT),
        (header(tlvs=TLV), CLIENT),
        (header("2001:db8:2::1", tlvs=TLV * 100), "2001:db8:2::1"),
        (header(tlvs=bytes(MAX_REST - 12)), CLIENT),
        # The proxy looks whether the server is well.
        (header(command=0x20), PROXY),
        (header(command=0x20, kind=0, addresses=b""), PROXY),
        # Clients that have come to the proxy in another way.
        (header(kind=0, addresses=b""), PROXY),
        (header(kind=0, addresses=b"anything"), PROXY),
        (header(kind=0x31, addresses=b"/socket".ljust(216, b"\0")), PROXY),
        (header(kind=0x12), PROXY),
        # It need not send one.
        (b"", PROXY),
        (b"\r\n", PROXY),
        (b"\r\n\r\n", PROXY),
    ],
)
async def test_header(server: ServerProcess, before: bytes, address: str) -> None:
    peer = await Peer.connect(server.url, source=PROXY, before=before)
    assert await address_of(server, peer) == address


async def test_a_header_for_pages(server: ServerProcess) -> None:
    """Requests that are no upgrade come from the address in it, too."""
    inside = await Peer.connect(server.url, source=PROXY, before=header())
    assert not await is_free(server, header())
    assert await is_free(server, header("203.0.113.8"))
    assert await is_free(server, b"")
    await address_of(server, inside)


async def test_a_header_for_an_upgrade_that_comes_later(server: ServerProcess) -> None:
    """The connection's first request is for a page."""
    client = await Connection.open(server.url, source=PROXY)
    host = urlsplit(server.url).netloc
    await client.send(header() + f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert (await read_response(client.reader)).status == 200
    await client.send(upgrade_request(host, "/connect"))
    assert (await read_response(client.reader)).status == 101
    assert not await is_free(server, header())
    client.abort()
    await until_free(server, header())


async def test_a_header_may_be_cut_anywhere(server: ServerProcess) -> None:
    before = header(tlvs=TLV)
    host = urlsplit(server.url).netloc
    request = f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    whole = before + request
    for cut in range(1, len(before) + 2):
        client = await Connection.open(server.url, source=PROXY)
        await client.send(whole[:cut])
        await asyncio.sleep(0.002)
        await client.send(whole[cut:])
        assert (await read_response(client.reader)).status == 200
        client.abort()


async def test_a_header_may_come_byte_by_byte(server: ServerProcess) -> None:
    client = await Client.open(server.url, source=PROXY)
    for byte in header() + upgrade_request(urlsplit(server.url).netloc, "/connect"):
        await client.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await read_response(client.reader)).status == 101
    assert not await is_free(server, header())
    client.abort()
    await until_free(server, header())


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        # Who connects to a proxy that passes bytes on can write what he likes.
        (CLIENT, "198.51.100.1", CLIENT),
        # One proxy behind another.
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
    ],
)
async def test_a_header_and_forwarded_for(
    server: ServerProcess, peer: str, forwarded: str, address: str
) -> None:
    """X-Forwarded-For counts if the address in the header is a trusted proxy's."""
    client = await Peer.connect(
        server.url, source=PROXY, before=header(peer), headers={"X-Forwarded-For": forwarded}
    )
    assert await address_of(server, client) == address


async def answered(server: ServerProcess, before: bytes, source: str) -> bytes:
    client = await Connection.open(server.url, source=source)
    client.write(before + upgrade_request(urlsplit(server.url).netloc, "/connect"))
    answer = await client.end()
    client.abort()
    return answer[:12]


@pytest.mark.parametrize(
    "before",
    [
        header(command=0x11),
        header(command=0x22),
        header(kind=0x41),
        header(kind=0x13),
        header(addresses=bytes(11)),
        header("2001:db8:2::1", addresses=bytes(35)),
        header(tlvs=bytes(MAX_REST - 11)),
    ],
)
async def test_an_invalid_header(server: ServerProcess, before: bytes) -> None:
    """It ends the connection, and the log says from whom it was."""
    logged = len(server.lines)
    assert await answered(server, before, PROXY) == b""
    pattern = re.compile("WARNING .*PROXY protocol from .*127.0.0.2")
    await until(lambda: any(map(pattern.search, server.lines[logged:])))


@pytest.mark.parametrize(
    ("before", "source"),
    [
        (header(), STRANGER),
        # A client of a proxy cannot send one either.
        (header() + header("203.0.113.8"), PROXY),
        # Version 1.
        (b"PROXY TCP4 203.0.113.7 203.0.113.1 4711 443\r\n", PROXY),
    ],
)
async def test_what_is_no_header(server: ServerProcess, before: bytes, source: str) -> None:
    assert await answered(server, before, source) == b"HTTP/1.1 400"


async def test_a_header_that_does_not_end() -> None:
    """It has as long as a request."""
    env = {"SIGNALING_TRUSTED_PROXIES": PROXY, "SIGNALING_HANDSHAKE_TIMEOUT": "0.2"}
    with server_process(env=env) as server:
        for sent in (SIGNATURE[:3], SIGNATURE, header()[:-1]):
            client = await Connection.open(server.url, source=PROXY)
            await client.send(sent)
            assert await client.end() == b""
            client.abort()


async def test_a_header_without_the_setting() -> None:
    with server_process() as server:
        assert await answered(server, header(), PROXY) == b"HTTP/1.1 400"


# The setting


def trusted(text: str) -> tuple[object, ...]:
    return Config.from_environ({"SIGNALING_TRUSTED_PROXIES": text}).trusted_proxies


def test_setting() -> None:
    assert trusted("") == ()
    networks = ("127.0.0.1/32", "10.0.0.0/8", "::1/128", "fd00::/8")
    assert trusted("127.0.0.1, 10.0.0.0/8,::1,fd00::/8") == tuple(map(ip_network, networks))
    mapped = trusted("::ffff:10.0.0.1,::ffff:10.0.0.0/104,::/0")
    assert mapped == tuple(map(ip_network, ("10.0.0.1/32", "10.0.0.0/8", "::/0")))


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.*", "[::1]"])
def test_invalid_setting(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^SIGNALING_TRUSTED_PROXIES=.* is not an address or"):
        trusted(f"127.0.0.1,{text}")
