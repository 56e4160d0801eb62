"""The demo page over HTTP, as `main.py -demo` serves it on either transport."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from demo.routes import PAGE, SDK, demo_routes
from tests.support.client import Connection, Response, http, read_response, upgrade_request
from tests.support.peer import Peer
from tests.support.server_process import ServerProcess, server_process

TRANSPORTS = ["auto", "tornado"]
SECRET = "s3cret"
ICE_SERVERS = (
    ' [ {"urls": "stun:stun.\\u00e9xample", "note": 1.0},\n'
    f' {{"urls":["turn:a.é","TURNS:b"], "username":"alice","credential":"{SECRET}"}}]'
)

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".ts": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; manifest-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(self), display-capture=(self)",
    "cross-origin-opener-policy": "same-origin",
}
SAME_ORIGIN = {"cross-origin-resource-policy": "same-origin"}
ANY_ORIGIN = {"cross-origin-resource-policy": "cross-origin", "access-control-allow-origin": "*"}


def files() -> list[str]:
    """Return the paths of all files that the two directories have to serve."""
    page = [f"/{path.name}" for path in PAGE.iterdir()]
    sdk = [f"/sdk/{path.name}" for path in SDK.iterdir()]
    return sorted(page + sdk)


def text_of(path: str) -> bytes:
    """Return the text of the file that is served at a path."""
    return (SDK.parent / path[1:] if path.startswith("/sdk/") else PAGE / path[1:]).read_bytes()


async def request(url: str, path: str, method: str = "GET", **headers: str) -> Response:
    """Request a path, unchanged; an underscore in a header's name stands for a dash."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}", "Content-Length: 0"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return await http(url, "\r\n".join([*lines, "", ""]).encode("latin-1"))


def demo_process(transport: str) -> AbstractContextManager[ServerProcess]:
    env = {
        "SIGNALING_ICE_SERVERS": ICE_SERVERS,
        "SIGNALING_TRANSPORT": transport,
        "SIGNALING_LOG_LEVEL": "DEBUG",
    }
    return server_process("-demo", env=env)


@pytest.fixture(scope="module", params=TRANSPORTS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with demo_process(request.param) as server:
        yield server.url


@asynccontextmanager
async def served(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Serve the demo's routes alone, with another directory for the page, in the test's process."""
    monkeypatch.setattr("demo.routes.PAGE", directory)
    server = HTTPServer(Application([*demo_routes()], log_function=lambda handler: None))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}/"
    server.stop()
    await server.close_all_connections()


# What is served


async def test_page(url: str) -> None:
    """The page is at `/`."""
    response = await request(url, "/")
    assert (response.status, response.body) == (200, text_of("/index.html"))
    assert response.headers["content-type"] == TYPES[".html"]


@pytest.mark.parametrize("path", files())
async def test_file(url: str, path: str) -> None:
    """The page's files are beside it and the SDK's are under `/sdk/`, each with its type."""
    response = await request(url, path)
    assert (response.status, response.body) == (200, text_of(path))
    assert response.headers["content-type"] == TYPES[Path(path).suffix]


def test_files_are_found() -> None:
    assert {"/index.html", "/sdk/signaling.js", "/sdk/signaling.d.ts"} <= set(files())


async def test_every_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the page may have any type that pages are made of, and no other."""
    for suffix in TYPES:
        (tmp_path / f"a-b_c.d{suffix}").write_bytes(b"text")
    async with served(tmp_path, monkeypatch) as url:
        for suffix, content_type in TYPES.items():
            response = await request(url, f"/a-b_c.d{suffix}")
            if suffix == ".ts":
                assert response.status == 404
            else:
                assert (response.status, response.body) == (200, b"text")
                assert response.headers["content-type"] == content_type


# How it is served


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("POST", "/", 405),
        ("GET", "/index.html", 200),
        ("GET", "/nope.js", 404),
        ("GET", "/sdk/signaling.js", 200),
        ("PUT", "/sdk/signaling.js", 405),
        ("GET", "/sdk/nope.js", 404),
    ],
)
async def test_headers(url: str, method: str, path: str, status: int) -> None:
    """Every response, also a refusal, has the headers that shut a page in.

    Pages of other origins may import the SDK, but use nothing else.
    """
    response = await request(url, path, method)
    assert response.status == status
    origin = ANY_ORIGIN if path.startswith("/sdk/") else SAME_ORIGIN
    expected = HEADERS | origin
    assert {name: response.headers.get(name) for name in expected} == expected
    assert ("access-control-allow-origin" in response.headers) == (origin is ANY_ORIGIN)
    assert "server" not in response.headers


@pytest.mark.parametrize("path", ["/", *files(), "/nope.js", "/sdk/nope.js"])
async def test_head(url: str, path: str) -> None:
    """HEAD is answered as GET, without the body."""
    head, get = await request(url, path, "HEAD"), await request(url, path)
    assert (head.status, head.body) == (get.status, b"")
    assert int(head.headers["content-length"]) == len(get.body)
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


@pytest.mark.parametrize("path", ["/", "/index.html", "/sdk/signaling.js"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
async def test_other_methods(url: str, method: str, path: str) -> None:
    """Any other method is answered with 405 and the methods that there are."""
    response = await request(url, path, method)
    assert (response.status, response.body) == (405, b"405 Method Not Allowed\n")
    assert response.headers["allow"] == "GET, HEAD"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("path", ["/nope.js", "/nope.html", "/sdk/nope.js", "/sdk/nope.d.ts"])
async def test_missing_file(url: str, path: str) -> None:
    """A file that does not exist is a 404 in plain text."""
    response = await request(url, path)
    assert (response.status, response.body) == (404, b"404 Not Found\n")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("path", ["/", "/index.html?v=1", "/sdk/signaling.js"])
async def test_not_modified(url: str, path: str) -> None:
    """A browser asks each time, and is told with 304 that its copy is still good."""
    first = await request(url, path)
    assert first.headers["cache-control"] == "no-cache"
    assert "expires" not in first.headers
    tag, date = first.headers["etag"], first.headers["last-modified"]
    for again in (
        await request(url, path, If_None_Match=tag),
        await request(url, path, "HEAD", If_None_Match=tag),
        await request(url, path, If_Modified_Since=date),
    ):
        assert (again.status, again.body) == (304, b"")
        assert again.headers["cache-control"] == "no-cache"
        assert again.headers["etag"] == tag
        assert {name: again.headers.get(name) for name in HEADERS} == HEADERS
    earlier = format_datetime(datetime.now(UTC) - timedelta(days=10_000), usegmt=True)
    assert (await request(url, path, If_Modified_Since=earlier)).status == 200
    assert (await request(url, path, If_None_Match='"another"')).status == 200


async def test_modified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes while the server runs is served anew to clients that had it before."""
    page = tmp_path / "index.html"
    page.write_text("before")
    async with served(tmp_path, monkeypatch) as url:
        before = await request(url, "/")
        page.write_text("behind")
        after = await request(url, "/", If_None_Match=before.headers["etag"])
    assert (before.body, after.status, after.body) == (b"before", 200, b"behind")


async def test_upgrade(url: str) -> None:
    """A request for the page that also asks for a WebSocket gets the page."""
    connection = await Connection.open(url)
    connection.write(upgrade_request(urlsplit(url).netloc, "/"))
    async with asyncio.timeout(10):
        response = await read_response(connection.reader)
    connection.abort()
    assert (response.status, response.body) == (200, text_of("/index.html"))
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


# What is not served


@pytest.mark.parametrize(
    "path",
    [
        "/routes.py",
        "/__init__.py",
        "/../routes.py",
        "/main.py",
        "/.env",
        "/.env.js",
        "/../main.py",
        "/%2e%2e/main.py",
        "/..%2fmain.py",
        "/%2e%2e%2fmain.py",
        "/..\\main.py",
        "/..%5cmain.py",
        "/../sdk/signaling.js",
        "/%2e%2e/sdk/signaling.js",
        "/..%2fsdk%2fsignaling.js",
        "//etc/passwd",
        "//index.html",
        "/./index.html",
        "/index.html/",
        "/index%2ehtml",
        "/index.html%00",
        "/index.html%00.js",
        "/index.html%0a",
        "/demo/index.html",
        "/demo/page/index.html",
        "/page/index.html",
        "/sdk",
        "/sdk/",
        "/sdk/package.json",
        "/sdk/signaling",
        "/sdk/../main.py",
        "/sdk/../demo/page/index.html",
        "/sdk/%2e%2e/main.py",
        "/sdk/..%2fdemo%2fpage%2findex.html",
        "/sdk/..",
        "/config.json",
        "/nope",
        "/connect/",
    ],
)
async def test_nothing_else(url: str, path: str) -> None:
    """No other file of the checkout has a path: no code, nothing hidden, nothing elsewhere."""
    response = await request(url, path)
    assert (response.status, response.body) == (404, b"404 page not found\n")


async def test_nothing_hidden_or_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hidden file is served, none in a directory below, and none of another kind."""
    (tmp_path / "below").mkdir()
    paths = [".hidden.js", "below/script.js", "script.py", "script.js.map", "script.js~", "js"]
    for path in paths:
        (tmp_path / path).write_text("secret")
    async with served(tmp_path, monkeypatch) as url:
        for path in [*paths, "below", "below/", "%2ehidden.js", "below%2fscript.js"]:
            assert (await request(url, f"/{path}")).status == 404


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_without_the_flag(transport: str) -> None:
    """Without `-demo` none of it is there."""
    with server_process(env={"SIGNALING_TRANSPORT": transport}) as server:
        for path in ["/", *files()]:
            response = await request(server.url, path)
            assert (response.status, response.body) == (404, b"404 page not found\n")


# What else is served


@pytest.mark.parametrize("path", ["/connect", "/ws"])
async def test_clients(url: str, path: str) -> None:
    """Clients connect as they do without the demo."""
    assert (await request(url, path)).status == 400
    peer = await Peer.connect(f"ws://{urlsplit(url).netloc}{path}")
    assert peer.id
    peer.abort()


async def test_health(url: str) -> None:
    """`/health` answers as it does without the demo."""
    for method in ("GET", "POST"):
        response = await request(url, "/health", method)
        assert (response.status, response.body) == (200, b"OK")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_log(transport: str) -> None:
    """Requests are not logged, whatever they ask for, and neither are credentials."""
    with demo_process(transport) as server:
        server.wait_for_line(" demo: ")
        before = server.lines
        for path in ["/", "/ice-servers", "/nope.js", "/sdk/..", "/%ff.js", f"/{SECRET}.js"]:
            for method in ("GET", "POST"):
                await request(server.url, path, method)
        # Its record comes after all that these could have left.
        peer = await Peer.connect(server.url)
        await peer.join("room")
        await asyncio.to_thread(server.wait_for_line, f"{peer.id} at .* joined")
        asked = server.lines[len(before) :]
        peer.abort()
    assert all(peer.id in line for line in asked)
    assert not [line for line in server.lines if SECRET in line]
