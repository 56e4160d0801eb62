"""The handshake, as real clients and proxies send it, and as nobody does."""

import asyncio
import base64
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from tests.conformance.conftest import Connect
from tests.support.client import (
    ACCEPT,
    KEY,
    TIME_LIMIT,
    Client,
    Connection,
    HandshakeError,
    Response,
    read_response,
)

Fields = list[tuple[str, str]]

NEEDED: Fields = [
    ("Host", "x"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
]

# Fields that clients and proxies send besides, or spell in their own way, in their own order.
REAL: dict[str, Fields] = {
    "chromium": [
        ("Host", "127.0.0.1:5000"),
        ("Connection", "Upgrade"),
        ("Pragma", "no-cache"),
        ("Cache-Control", "no-cache"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0"),
        ("Upgrade", "websocket"),
        ("Origin", "http://127.0.0.1:5000"),
        ("Sec-WebSocket-Version", "13"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Accept-Language", "en-US,en;q=0.9"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
    ],
    "firefox": [
        ("Host", "127.0.0.1:5000"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("Accept", "*/*"),
        ("Sec-WebSocket-Version", "13"),
        ("Origin", "null"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ("Sec-WebSocket-Key", KEY),
        ("DNT", "1"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-Fetch-Dest", "websocket"),
        ("Sec-Fetch-Mode", "websocket"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Upgrade", "websocket"),
    ],
    "dotnet": [
        ("Host", "127.0.0.1:5000"),
        ("Connection", "Upgrade,Keep-Alive"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
        ("Origin", ""),
    ],
    "react-native": [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ("origin", "http://[object Object]"),
        ("Host", "10.0.2.2:5000"),
        ("Accept-Encoding", "gzip"),
        ("User-Agent", "okhttp/4.12.0"),
    ],
    "node": [
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ("Sec-WebSocket-Protocol", "signaling"),
        ("Host", "localhost:5000"),
    ],
    "lower-case proxy": [
        ("host", "signaling.example"),
        ("x-request-id", "5d4e"),
        ("x-forwarded-for", "192.0.2.1, unknown"),
        ("x-forwarded-proto", "https"),
        ("via", "1.1 varnish"),
        ("connection", "upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
        ("content-length", "0"),
    ],
    "many lines": [
        ("Host", "x"),
        ("Connection", "keep-alive"),
        ("Upgrade", "h2c"),
        ("Connection", "HTTP2-Settings , UPGRADE"),
        ("Upgrade", "WEBSOCKET"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ],
}

# Fields that an upgrade does not need, with values that nobody should send.
ODD: Fields = [
    *(("Origin", origin) for origin in ("http://[object Object]", "http://[", "://", "\xff", "")),
    *(("Sec-Fetch-Site", site) for site in ("cross-site", "same-site", "x")),
    *(("Sec-WebSocket-Extensions", it) for it in ("", ";", "=,=", 'x;y="', "x; y=\xff", "a, , b;")),
    ("Sec-WebSocket-Extensions", "x; a*=b; a*1*=c"),  # Parsers of RFC 2231 stumble over this one.
    *(("Sec-WebSocket-Protocol", names) for names in ("", ",", "a b", "a, a", "\xff")),
    ("Content-Type", "multipart/form-data"),
    ("Content-Type", "application/json; charset=\xff"),
    ("Content-Encoding", "gzip"),
    ("Cookie", "\xff;=;\x80=\t;;"),
    ("Authorization", "Basic !"),
    ("X-Forwarded-For", "nobody"),
    ("X-Real-IP", "::::"),
    ("X-Scheme", "gopher"),
    ("If-None-Match", '"'),
    ("Range", "bytes=9-1"),
    ("Accept", ";q=x"),
    ("User-Agent", ""),
    ("Content-Length", "0"),
    ("TE", "trailers"),
    ("Keep-Alive", "timeout=x"),
]

KEYS = [
    base64.b64encode(bytes(16)).decode(),
    "dGhlIHNhbXBsZSBub25jZR==",  # The last bits are not zero, which no decoder minds.
]
NO_KEYS = [
    "",
    "x",
    "dGhlIHNhbXBsZSBub25j",  # 15 bytes
    "dGhlIHNhbXBsZSBub25jZTE=",  # 17 bytes
    "dGhlIHNhbXBsZSBub25jZQ",
    "dGhlIHNhbXBsZSBub25jZQ=",
    "dGhlIHNhbXBsZSBub25jZQ===",
    "dGhlIHNhbXBsZSBub25j-_==",
    "dGhl IHNhbXBsZSBub25jZQ==",
    f'"{KEY}"',
    f"{KEY}, {KEY}",
]

# The examples are the same in every run.
examples = settings(max_examples=150, derandomize=True, database=None)


def handshake(fields: Fields, line: str = "GET /connect HTTP/1.1") -> bytes:
    lines = [line, *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def ask(url: str, request: bytes) -> Response:
    """Send a request and return the response. If that is an upgrade, check that it works."""
    async with asyncio.timeout(TIME_LIMIT):
        client = await Client.open(url)
        client.write(request)
        method = request.lstrip().split(b" ", 1)[0].decode("latin-1")
        response = await read_response(client.reader, method)
        if response.status == 101:
            assert (await client.receive_text()).startswith('{"type":"notify-client-id"')
        client.abort()
        return response


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("name", REAL)
async def test_real_handshakes(url: str, name: str, version: str) -> None:
    """Browsers, libraries and proxies get their upgrade; nginx asks for it in HTTP/1.0."""
    response = await ask(url, handshake(REAL[name], f"GET /connect {version}"))
    assert response.status == 101


async def test_http_1_0_needs_no_host(url: str) -> None:
    request = handshake(NEEDED[1:], "GET /connect HTTP/1.0")
    assert (await ask(url, request)).status == 101


@pytest.mark.parametrize("headers", ODD, ids=lambda field: f"{field[0]}: {field[1]!r}")
async def test_what_the_handshake_does_not_need(url: str, headers: tuple[str, str]) -> None:
    """The value of such a field neither refuses the handshake nor changes the answer."""
    response = await ask(url, handshake([*NEEDED, headers]))
    assert response.status == 101
    usual = {"upgrade", "connection", "sec-websocket-accept", "date"}
    assert set(response.headers) <= usual


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://h.example/connect", 101),
        ("http://h.example:5000/ws?x=1", 101),
        ("https://[::1]/connect", 101),
        ("HTTP://h.example/connect", 101),
        ("ws://h.example/connect", 101),
        ("/%63onnect", 101),
        ("/connect?%zz=%ff", 101),
        ("http://h.example/health", 200),
        ("/he%61lth", 200),
        ("http://h.example/nope", 404),
        pytest.param("http://h.example/http://h.example/health", 404, marks=pytest.mark.differ),
        pytest.param("/http://h.example/health", 404, marks=pytest.mark.differ),
        ("/connect%0A", 404),
        ("/connect%3Fx", 404),
        ("/health%00", 404),
    ],
)
async def test_forms_of_the_target(url: str, target: str, status: int) -> None:
    """A target is routed by its path, decoded, whatever host stands before it."""
    for version in ("HTTP/1.1", "HTTP/1.0"):
        assert (await ask(url, handshake(NEEDED, f"GET {target} {version}"))).status == status


@pytest.mark.parametrize("key", KEYS)
async def test_keys(connect: Connect, key: str) -> None:
    """Any 16 bytes in base64 are a key."""
    await connect(headers={"Sec-WebSocket-Key": key})


@pytest.mark.parametrize("key", NO_KEYS)
async def test_no_keys(url: str, key: str) -> None:
    """A key that is not 16 bytes in base64 is answered with 400."""
    with pytest.raises(HandshakeError) as error:
        await Client.connect(url, headers={"Sec-WebSocket-Key": key})
    assert error.value.response.status == 400


@pytest.mark.parametrize(("keys", "status"), [((KEY, "x"), 101), (("x", KEY), 400)])
async def test_the_first_of_two_keys_counts(url: str, keys: list[str], status: int) -> None:
    """This is as in Go, where a field that is not a list has the value of its first line."""
    fields = NEEDED[:-1] + [("Sec-WebSocket-Key", key) for key in keys]
    response = await ask(url, handshake(fields))
    assert response.status == status
    if status == 101:
        assert response.headers["sec-websocket-accept"] == ACCEPT


METHODS = ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "BREW"]


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("method", METHODS)
async def test_upgrade_by_another_method(url: str, method: str, version: str) -> None:
    """An upgrade by any method but GET is answered with 405."""
    request = handshake(NEEDED, f"{method} /connect {version}")
    assert (await ask(url, request)).status == 405


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"EHLO x\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET /connect\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        # The original waits for the end of the line, without a limit.
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", marks=pytest.mark.differ),
        pytest.param(b"\x05\x01\x00", marks=pytest.mark.differ),
        pytest.param(bytes(4), marks=pytest.mark.differ),
    ],
    ids=["ssh", "smtp", "redis", "http-0.9", "http-2", "tls", "socks", "zeros"],
)
async def test_no_request(url: str, sent: bytes) -> None:
    """Bytes that cannot begin a request are answered with 400 and the end, at once."""
    async with asyncio.timeout(5):
        connection = await Connection.open(url)
        await connection.send(sent)
        assert (await connection.end()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        connection.abort()


tokens = st.sampled_from(["h2c", "keep-alive", "close", "x", "websocket", "upgrade", "TE"])


@st.composite
def lists(draw: st.DrawFn, token: str) -> tuple[list[str], bool]:
    """Draw the lines of a field that is a list, and whether the token is in it."""
    lines = []
    for _ in range(draw(st.integers(0, 2))):
        elements = draw(st.lists(tokens | st.just(token), min_size=1, max_size=3))
        elements = [draw(st.sampled_from([str.upper, str.title, str.lower]))(it) for it in elements]
        lines.append(draw(st.sampled_from([",", ", ", " ,\t"])).join(elements))
    return lines, any(token == it.strip().lower() for line in lines for it in line.split(","))


@st.composite
def handshakes(draw: st.DrawFn) -> tuple[bytes, int]:
    """Draw a well-formed request and the status of the answer to it."""
    status = 101

    def refuse(unless: bool, code: int = 400) -> None:
        nonlocal status
        status = status if unless or status != 101 else code

    fields: Fields = [("Host", draw(st.sampled_from(["x", "127.0.0.1:5000", "[::1]:80", ""])))]
    for name, token in (("Connection", "upgrade"), ("Upgrade", "websocket")):
        usual = st.just(([token], True))
        lines, found = draw(usual | usual | lists(token))
        fields += [(name, line) for line in lines]
        refuse(unless=found)
    method = draw(st.sampled_from(["GET"] * 9 + METHODS))
    refuse(unless=method == "GET", code=405)
    version = draw(st.sampled_from(["13"] * 9 + ["8", "", "013", "13;x", "1 3"]))
    fields.append(("Sec-WebSocket-Version", version))
    refuse(unless=version == "13")
    key = draw(st.sampled_from([*KEYS * 4, *NO_KEYS]))
    fields.append(("Sec-WebSocket-Key", key))
    refuse(unless=key in KEYS)
    fields += draw(st.lists(st.sampled_from(ODD), max_size=4, unique_by=lambda field: field[0]))
    fields = draw(st.permutations(fields))
    case: Callable[[str], str] = draw(st.sampled_from([str.lower, str.upper, str.title]))
    end = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.0"]))
    path = draw(st.sampled_from(["/connect", "/ws", "/connect?x", "http://h.example/ws"]))
    cased = [(case(name), value) for name, value in fields]
    return handshake(cased, f"{method} {path} {end}"), status


def test_arbitrary_handshakes(url: str, io_loop: IOLoop) -> None:
    """The parts that an upgrade needs are checked, each in its turn, and nothing else is."""

    @examples
    @given(handshakes())
    def check(case: tuple[bytes, int]) -> None:
        request, status = case
        assert io_loop.run_sync(lambda: ask(url, request)).status == status

    check()


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """Draw a handshake in which a few bytes have been replaced."""
    request = handshake(draw(st.sampled_from(sorted(REAL.values()))))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(request)))
        end = draw(st.integers(start, min(start + 5, len(request))))
        request = request[:start] + draw(st.binary(max_size=3)) + request[end:]
    return request


def test_mutilated_handshakes(url: str, io_loop: IOLoop) -> None:
    """Whatever is wrong with a handshake, it is never the server's fault (5xx)."""

    async def attack(request: bytes) -> bytes:
        connection = await Connection.open(url)
        await connection.send(request)
        connection.half_close()
        answered = await connection.end()
        connection.abort()
        return answered

    @examples
    @given(mutants())
    def check(request: bytes) -> None:
        answered = io_loop.run_sync(lambda: attack(request))
        assert not answered or answered[:10] in (b"HTTP/1.1 1", b"HTTP/1.1 4"), answered[:80]

    check()
