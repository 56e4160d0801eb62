"""`SIGNALING_ALLOWED_ORIGINS`: from which pages clients may come."""

import json
from collections.abc import Iterator

import pytest

from config.config import Config, ConfigError
from tests.edge.asking import answers, handshake, ice_servers
from tests.support.peer import Peer
from tests.support.server_process import TRANSPORTS, ServerProcess, server_process

ALLOWED = "https://app.example, https://*.example.com:8443, capacitor://localhost"


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    env = {"SIGNALING_ALLOWED_ORIGINS": ALLOWED, "SIGNALING_TRANSPORT": request.param}
    with server_process(env=env) as server:
        yield server


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example",
        "HTTPS://APP.EXAMPLE",
        "https://a.example.com:8443",
        "https://a.b.example.com:8443",
        "capacitor://localhost",
    ],
)
async def test_an_allowed_origin(server: ServerProcess, origin: str) -> None:
    assert await answers(server.url, Origin=origin) == (101, None)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example",
        "https://app.example:444",
        "https://app.example.evil.example",
        "https://notapp.example",
        "https://example.com:8443",
        "https://evil.example/.example.com:8443",
        "https://a@b.example.com:8443",
        "https://a.example.com",
        "null",
        "*",
        "https://app.example, https://app.example",
    ],
)
async def test_another_origin(server: ServerProcess, origin: str) -> None:
    assert await answers(server.url, Origin=origin) == (403, "forbidden-origin")


async def test_no_origin(server: ServerProcess) -> None:
    """What is not a page may connect; it could send any origin anyway."""
    assert await answers(server.url) == (101, None)


async def test_a_bad_handshake_is_told_so_first(server: ServerProcess) -> None:
    response = await handshake(server.url, Origin="https://evil.example", Upgrade="h2c")
    assert response.status == 400


async def test_a_refusal_disturbs_nobody(server: ServerProcess) -> None:
    one = await Peer.connect(server.url, headers={"Origin": "https://app.example"})
    await one.join("room")
    assert await answers(server.url, Origin="https://evil.example") == (403, "forbidden-origin")
    assert await one.received() == []
    one.abort()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_without_the_setting(transport: str) -> None:
    """Every origin may connect, as with the original, and be told the ICE servers."""
    with server_process(env={"SIGNALING_TRANSPORT": transport}) as server:
        assert await answers(server.url, Origin="https://any.example") == (101, None)
        response = await ice_servers(server.url)
        assert json.loads(response.body) == {
            "iceServers": [{"urls": "stun:stun.l.google.com:19302"}]
        }


async def test_preflight(server: ServerProcess) -> None:
    """A page from anywhere may ask with a token."""
    response = await ice_servers(
        server.url,
        method="OPTIONS",
        Origin="https://evil.example",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="authorization",
    )
    assert response.status == 204
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-allow-headers"] == "Authorization"


async def test_another_method(server: ServerProcess) -> None:
    response = await ice_servers(server.url, method="POST", Content_Length="0")
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    response = await ice_servers(server.url, method="HEAD")
    assert (response.status, response.body) == (200, b"")


def allowed(text: str) -> str:
    return Config.from_environ({"SIGNALING_ALLOWED_ORIGINS": text}).allowed_origins


def test_setting() -> None:
    assert allowed("*") == "*"
    assert allowed(ALLOWED) == ALLOWED.replace(" ", "")
    assert allowed("http://[::1]:8080,null") == "http://[::1]:8080,null"
    assert allowed("HTTPS://Example.com") == "https://example.com"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("example.com", "is not"),
        ("https://example.com/", "is not"),
        ("https://*", "is not"),
        ("https://a.*.example", "is not"),
        ("https://*example.com", "is not"),
        ("https://bücher.example", "is not"),
        (" , ", "is not"),
        ("https://a, *", "is not"),
        ("https://example.com:443", "has the default port"),
        ("http://*.example.com:80", "has the default port"),
    ],
)
def test_invalid_setting(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f"^SIGNALING_ALLOWED_ORIGINS=.* {what}") as error:
        allowed(text)
    assert "\n" not in str(error.value)
