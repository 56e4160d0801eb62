"""`SIGNALING_AUTH_…`: who may come in, to which rooms, and until when."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization import PublicFormat as Format
from hypothesis import given
from hypothesis import strategies as st
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.testing import bind_unused_port
from tornado.web import Application

from config.config import Config, ConfigError
from edge.door import Refused
from edge.ice_servers import IceServersHandler
from edge.tokens import MAX_SIZE, Tokens
from tests.edge.asking import answers, handshake, ice_servers
from tests.support.peer import Peer, error, new_client, offer
from tests.support.server_process import (
    MAIN,
    TRANSPORTS,
    ServerProcess,
    run_main,
    server_process,
)

SECRET = "the-first-secret-0123456789abcdef"
SECOND = "the-next-secret-0123456789-abcdef"
OTHER = "another-secret-0123456789-abcdef0"

Private = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
ED448 = ed448.Ed448PrivateKey.generate()

FAILED = error("failed to join room")
UNAUTHORIZED = 401, "unauthorized"
EXPIRED = 401, "token-expired"
WELCOME = 101, None


def pem(*keys: Private) -> str:
    """Return the public keys as `openssl pkey -pubout` writes them."""
    public = (
        key.public_key().public_bytes(Encoding.PEM, Format.SubjectPublicKeyInfo) for key in keys
    )
    return b"".join(public).decode()


def token(key: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """Return a token that is valid if the claims do not say otherwise.

    A claim that is None is left out. `exp` and `nbf` are counted from now.
    """
    valid = {"exp": 60, "iss": "app", "aud": "signaling", "rooms": ["room"]}
    said: dict[str, Any] = {
        name: value for name, value in {**valid, **claims}.items() if value is not None
    }
    for name in {"exp", "nbf"} & set(said):
        if isinstance(said[name], int | float):
            said[name] += int(time())
    return signed(said, key, algorithm)


def signed(claims: object, key: Any = SECRET, algorithm: str = "HS256") -> str:
    """Return a token with claims that PyJWT might not sign."""
    return jwt.api_jws.encode(json.dumps(claims).encode(), key, algorithm)


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Return a server that takes all kinds of tokens, and has not logged any at the end."""
    keys = tmp_path_factory.mktemp("keys") / "public.pem"
    keys.write_text("Of the application:\n" + pem(RSA, P256, ED25519, ED448))
    env = {
        "SIGNALING_AUTH_SECRETS": f"{SECRET},\n {SECOND}",
        "SIGNALING_AUTH_PUBLIC_KEYS": str(keys),
        "SIGNALING_AUTH_ISSUER": "app",
        "SIGNALING_AUTH_AUDIENCE": "signaling",
        "SIGNALING_TRANSPORT": request.param,
        "SIGNALING_LOG_LEVEL": "DEBUG",
    }
    with server_process(env=env) as server:
        yield server
    assert not quotations(server)


def quotations(server: ServerProcess) -> list[str]:
    """Return the lines of the log that quote a token, which begins with `{"` in base64."""
    return [line for line in server.lines if "eyJ" in line or "secret" in line]


async def answers_to(server: ServerProcess, token: str) -> tuple[int, Any]:
    return await answers(server.url, Authorization=f"Bearer {token}")


async def connect(server: ServerProcess, token: str) -> Peer:
    names = f"signaling, bearer.{token}"
    return await Peer.connect(server.url, headers={"Sec-WebSocket-Protocol": names})


# The signature


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (SECRET, "HS256"),
        (SECOND, "HS256"),
        (RSA, "RS256"),
        (P256, "ES256"),
        (ED25519, "EdDSA"),
        (ED448, "EdDSA"),
    ],
    ids=["secret", "second-secret", "rsa", "p256", "ed25519", "ed448"],
)
async def test_a_token_for_each_key(server: ServerProcess, key: Any, algorithm: str) -> None:
    assert await answers_to(server, token(key, algorithm)) == WELCOME


def part(value: object) -> str:
    """Return a part of a token."""
    return jwt.utils.base64url_encode(json.dumps(value).encode()).decode()


def unsigned(**header: object) -> str:
    """Return a token with such a header that is not signed."""
    _, claims, _ = token().split(".")
    return f"{part(header)}.{claims}."


def signed_with_a_public_key() -> str:
    """Return a token with a signature that everybody can make who has a public key."""
    # PyJWT refuses to do that.
    signing = f"{part({'alg': 'HS256'})}.{token().split('.')[1]}"
    digest = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = digest.sign(signing.encode(), pem(RSA).encode())
    return f"{signing}.{jwt.utils.base64url_encode(signature).decode()}"


def changed() -> str:
    """Return a token with the signature of another."""
    head, _, signature = token().split(".")
    return f"{head}.{token(rooms=['*']).split('.')[1]}.{signature}"


@pytest.mark.parametrize(
    "make",
    [
        lambda: token(OTHER),
        changed,
        lambda: token(None, "none"),
        lambda: unsigned(alg="none"),
        lambda: unsigned(alg="NONE"),
        lambda: unsigned(alg=None),
        lambda: unsigned(alg=["HS256"]),
        lambda: unsigned(alg="HS256"),
        lambda: unsigned(),
        signed_with_a_public_key,
        lambda: token(SECRET * 2, "HS512"),
        lambda: token(RSA, "PS256"),
        lambda: token(RSA, "RS512"),
        lambda: token(rsa.generate_private_key(65537, 2048), "RS256"),
        lambda: token(ec.generate_private_key(ec.SECP256R1()), "ES256"),
        lambda: token(ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ],
)
async def test_another_signature(server: ServerProcess, make: Callable[[], str]) -> None:
    """The server alone says which algorithm is used with which key, never a token."""
    assert await answers_to(server, make()) == UNAUTHORIZED


# The claims


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": -8},
        {"exp": 0.5},
        {"nbf": 8},
        {"nbf": -60},
        {"iat": time() + 3600},
        {"aud": ["other", "signaling"]},
        {"sub": "alice"},
        {"rooms": []},
        {"name": {"more": [1]}},
    ],
)
async def test_a_valid_token(server: ServerProcess, claims: dict[str, Any]) -> None:
    """Clocks may differ by ten seconds, and a token may have other claims too."""
    assert await answers_to(server, token(**claims)) == WELCOME


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": "2100-01-01"},
        {"exp": "4102444800"},
        {"exp": [4102444800]},
        {"exp": {}},
        {"nbf": 60},
        {"nbf": "soon"},
        {"iss": None},
        {"iss": "other"},
        {"iss": ["app"]},
        {"aud": None},
        {"aud": "other"},
        {"aud": "signaling "},
        {"aud": []},
        {"sub": 1},
        {"sub": ["alice"]},
        {"rooms": None},
        {"rooms": "room"},
        {"rooms": "*"},
        {"rooms": {"room": True}},
        {"rooms": ["room", 1]},
        {"rooms": ["room", None]},
        {"rooms": [["room"]]},
    ],
    ids=str,
)
async def test_an_invalid_token(server: ServerProcess, claims: dict[str, Any]) -> None:
    assert await answers_to(server, token(**claims)) == UNAUTHORIZED
    # What else is wrong counts more: a new token of the same kind would be no better.
    if "exp" not in claims:
        assert await answers_to(server, token(**claims, exp=-60)) == UNAUTHORIZED


async def test_an_expired_token(server: ServerProcess) -> None:
    assert await answers_to(server, token(exp=-12)) == EXPIRED
    assert await answers_to(server, token(exp=-1e9)) == EXPIRED
    assert await answers_to(server, token(OTHER, exp=-12)) == UNAUTHORIZED


async def test_claims_that_are_no_object(server: ServerProcess) -> None:
    for claims in (b"[]", b"null", b'"rooms"', b"{", b"\xff", b"[" * 2000):
        assert await answers_to(server, jwt.api_jws.encode(claims, SECRET)) == UNAUTHORIZED


async def test_numbers_beyond_all_bounds(server: ServerProcess) -> None:
    """What JSON does not have, though Python reads it, is no time at which a token could expire."""
    claims = '{"exp":%s,"rooms":["*"],"iss":"app","aud":"signaling"}'
    for number in ("NaN", "Infinity", "1e999", "-Infinity", "1" + "0" * 400, "true"):
        made = jwt.api_jws.encode((claims % number).encode(), SECRET)
        assert (await answers_to(server, made))[0] == 401


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_without_issuer_and_audience(transport: str) -> None:
    """Any issuer will do, but a token for somebody in particular is not for this server."""
    env = {"SIGNALING_AUTH_SECRETS": SECRET, "SIGNALING_TRANSPORT": transport}
    with server_process(env=env) as server:
        assert await answers_to(server, token(iss="any", aud=None)) == WELCOME
        assert await answers_to(server, token(iss=None, aud=None)) == WELCOME
        assert await answers_to(server, token(aud="other")) == UNAUTHORIZED
        assert await answers_to(server, token(RSA, "RS256", aud=None)) == UNAUTHORIZED


# Where the token is


async def test_a_token_in_each_place(server: ServerProcess) -> None:
    good = token()
    names = f"signaling, bearer.{good}"
    assert await answers(server.url, Sec_WebSocket_Protocol=names) == WELCOME
    assert await answers(server.url, Authorization=f"Bearer {good}") == WELCOME
    assert await answers(server.url, Authorization=f"bearer  {good} ") == WELCOME
    assert await answers(server.url, f"?token={good}") == WELCOME
    assert await answers(server.url, f"?x=1&token={good}&y") == WELCOME


async def test_no_token(server: ServerProcess) -> None:
    good = token()
    assert await answers(server.url) == UNAUTHORIZED
    assert await answers(server.url, "?token") == UNAUTHORIZED
    assert await answers(server.url, f"?Token={good}") == UNAUTHORIZED
    assert await answers(server.url, Authorization=f"Basic {good}") == UNAUTHORIZED
    assert await answers(server.url, Authorization=good) == UNAUTHORIZED
    assert await answers(server.url, Cookie=f"token={good}") == UNAUTHORIZED
    names = f"signaling, {good}"
    assert await answers(server.url, Sec_WebSocket_Protocol=names) == UNAUTHORIZED


async def test_the_first_token_counts(server: ServerProcess) -> None:
    """Of several, that is the one in the subprotocols, then in `Authorization`, then in the URL."""
    good, bad = token(), token(OTHER)
    query = f"?token={bad}"
    assert await answers(server.url, query, Authorization=f"Bearer {good}") == WELCOME
    names = f"signaling, bearer.{good}"
    fields = {"Authorization": f"Bearer {bad}", "Sec_WebSocket_Protocol": names}
    assert await answers(server.url, query, **fields) == WELCOME
    # Another scheme, for example one that is for a proxy, is no token.
    assert await answers(server.url, f"?token={good}", Authorization="Basic YTpi") == WELCOME

    query = f"?token={good}"
    assert await answers(server.url, query, Authorization=f"Bearer {bad}") == UNAUTHORIZED
    assert await answers(server.url, query, Authorization="Bearer ") == UNAUTHORIZED
    fields = {"Authorization": f"Bearer {good}", "Sec_WebSocket_Protocol": f"bearer.{bad}"}
    assert await answers(server.url, **fields) == UNAUTHORIZED


async def test_a_field_that_comes_twice(server: ServerProcess) -> None:
    """Here too, the first token counts."""
    good, bad = token(), token(OTHER)
    for one, other, answer in ((good, bad, WELCOME), (bad, good, UNAUTHORIZED)):
        assert await answers(server.url, f"?token={one}&token={other}") == answer
        twice = f"Bearer {one}\r\nAuthorization: Bearer {other}"
        assert await answers(server.url, Authorization=twice) == answer
        names = f"signaling\r\nSec-WebSocket-Protocol: bearer.{one}, bearer.{other}"
        assert await answers(server.url, Sec_WebSocket_Protocol=names) == answer


async def test_the_subprotocol(server: ServerProcess) -> None:
    """The server selects `signaling` if that is offered, never the token."""
    good = token()

    async def selected(names: str, **headers: str) -> str | None:
        response = await handshake(server.url, Sec_WebSocket_Protocol=names, **headers)
        assert response.status == 101
        assert not [value for value in response.headers.values() if good in value]
        return response.headers.get("sec-websocket-protocol")

    assert await selected(f"signaling, bearer.{good}") == "signaling"
    assert await selected(f"bearer.{good},signaling,x") == "signaling"
    assert await selected(f"bearer.{good}") is None
    assert await selected("signaling", Authorization=f"Bearer {good}") == "signaling"
    assert await selected("x", Authorization=f"Bearer {good}") is None


async def test_a_refusal(server: ServerProcess) -> None:
    """It says that a token is wanted, and nothing of the one that was there."""
    response = await handshake(
        server.url, Sec_WebSocket_Protocol=f"signaling, bearer.{token(OTHER)}"
    )
    assert response.status == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "sec-websocket-protocol" not in response.headers
    response = await ice_servers(server.url, f"/ice-servers?token={token(exp=-60)}")
    assert response.headers["www-authenticate"] == "Bearer"
    assert json.loads(response.body) == {"reason": "token-expired"}


# Rooms


@pytest.mark.parametrize(
    ("rooms", "allowed", "refused"),
    [
        (["room"], ["room"], ["Room", "room2", "roo", "", "room "]),
        (["one", "two"], ["one", "two"], ["three"]),
        (["team-*"], ["team-", "team-1", "team-*", "team-\n"], ["team", "Team-1", "my-team-1"]),
        (["*"], ["any", "*", "ü"], []),
        (["a*b"], ["a*b"], ["acb", "a*bc"]),
        (["a**"], ["a*", "a*b"], ["ab"]),
        ([], [], ["", "room"]),
        ([""], [""], ["room"]),
    ],
    ids=str,
)
async def test_rooms(
    server: ServerProcess, rooms: list[str], allowed: list[str], refused: list[str]
) -> None:
    """A name stands for itself, and with a star at its end for all that begin like it."""
    peer = await connect(server, token(rooms=rooms))
    for room in refused:
        await peer.say("join", room_id=room)
        assert await peer.receive() == FAILED
    for room in allowed:
        await peer.join(room)
    peer.abort()


async def test_a_join_that_is_refused_changes_nothing(server: ServerProcess) -> None:
    """The client stays in its room."""
    one = await connect(server, token(rooms=["stays"]))
    await one.join("stays")
    two = await connect(server, token(rooms=["stays"]))
    await two.join("stays")
    assert await one.received() == [new_client(two)]
    await two.say("join", room_id="elsewhere")
    assert await two.receive() == FAILED
    await two.say("offer", client_id=one.id, sdp="still here")
    assert await one.receive() == offer(two, "still here")
    one.abort()
    two.abort()


async def test_a_call_goes_on_when_the_token_expires(server: ServerProcess) -> None:
    """From then on its owner joins no room any more, not even its own again."""
    one = await connect(server, token(rooms=["call"], exp=60))
    await one.join("call")
    two = await connect(server, token(rooms=["call"], exp=-3))
    await two.join("call")
    assert await one.received() == [new_client(two)]
    # Each of its joins is told to the other, until it is refused.
    refused = False
    while not refused:
        await asyncio.sleep(0.2)
        await two.say("join", room_id="call")
        refused = FAILED in await two.received()
    assert set(await one.received()) <= {new_client(two)}
    await two.say("offer", client_id=one.id, sdp="still here")
    assert await one.receive() == offer(two, "still here")
    assert await answers_to(server, token(rooms=["call"], exp=-12)) == EXPIRED
    one.abort()
    two.abort()


async def test_a_refusal_disturbs_nobody(server: ServerProcess) -> None:
    one = await connect(server, token(rooms=["quiet"]))
    await one.join("quiet")
    assert await answers_to(server, "x") == UNAUTHORIZED
    two = await connect(server, token(rooms=["other"]))
    await two.say("join", room_id="quiet")
    assert await two.receive() == FAILED
    assert await one.received() == []
    one.abort()
    two.abort()


# Garbage

NESTED = b'{"x":%s,"alg":"HS256"}' % (b"[" * 1400 + b"]" * 1400)


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "=.=.=",
        "....." * 800,
        "a" * 12000,
        f"{'a' * 5000}.{'a' * 5000}.a",
        f"{part('[' * 2000)}.{part({})}.aaaa",
        f"{jwt.utils.base64url_encode(b'[' * 2500).decode()}.{part({})}.aaaa",
        f"{jwt.utils.base64url_encode(NESTED).decode()}.{part({})}.aaaa",
        f"{jwt.utils.base64url_encode(b'1' * 2900).decode()}.{part({})}.aaaa",
        f"{part({'alg': 'HS256', 'kid': 1})}.{part({})}.aaaa",
        f"{part({'alg': 'HS256', 'crit': ['x'], 'x': 1})}.{part({})}.aaaa",
        f"{part({'alg': 'HS256', 'b64': False, 'crit': ['b64']})}..aaaa",
        "\xff.\xff.\xff",
    ],
    ids=lambda it: repr(it[:20]),
)
async def test_garbage(server: ServerProcess, garbage: str) -> None:
    assert await answers_to(server, garbage) == UNAUTHORIZED


async def test_a_long_token(server: ServerProcess) -> None:
    """It may have 4096 characters, so that it is cheap to refuse one."""
    spare = (MAX_SIZE - len(token(x=""))) * 3 // 4
    assert await answers_to(server, token(x="x" * (spare - 4))) == WELCOME
    assert await answers_to(server, token(x="x" * (spare + 4))) == UNAUTHORIZED


START_LINE = RequestStartLine("GET", "/", "HTTP/1.0")
TOKENS = Tokens([SECRET], issuer="app", audience="signaling")


def refusal(token: str, tokens: Tokens = TOKENS) -> str | None:
    """Return the reason why a token is refused, if it is."""
    headers = HTTPHeaders({"Authorization": f"Bearer {token}"})
    try:
        tokens.check(HTTPServerRequest(start_line=START_LINE, headers=headers))
    except Refused as refused:
        return refused.reason
    return None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda it: st.lists(it, max_size=3) | st.dictionaries(st.text(max_size=3), it, max_size=3),
    max_leaves=5,
)
HEADERS = st.fixed_dictionaries(
    {"alg": st.just("HS256")}, optional={"typ": JSON, "kid": JSON, "crit": JSON, "b64": JSON}
)
CLAIMS = st.fixed_dictionaries(
    {"rooms": st.just([]) | JSON, "exp": st.floats() | st.integers() | JSON},
    optional=dict.fromkeys(["nbf", "iss", "aud", "sub", "jti"], JSON),
)


@given(st.text() | JSON.map(lambda header: f"{part(header)}..") | JSON.map(part))
def test_any_text_is_refused(text: str) -> None:
    assert refusal(text) == "unauthorized"


@given(HEADERS)
def test_any_header_is_refused(header: dict[str, object]) -> None:
    assert refusal(f"{part(header)}.{part({})}.{part({})}") == "unauthorized"


@given(CLAIMS)
def test_any_claims_are_judged(claims: dict[str, Any]) -> None:
    """Nobody but who has the secret could send them, but an exception would be a fault even so."""
    reason = refusal(signed(claims), Tokens([SECRET]))
    assert reason in (None, "unauthorized", "token-expired")
    assert reason or all(isinstance(name, str) for name in claims["rooms"])


# The log


async def test_no_token_is_logged(server: ServerProcess) -> None:
    """Not even at DEBUG, where the log says what each client is told."""
    for each in (token(), token(OTHER), token(exp=-60), token(rooms=1)):
        names = f"signaling, bearer.{each}"
        await answers(server.url, Sec_WebSocket_Protocol=names)
        await handshake(server.url, f"/connect?token={each}", Upgrade="")
        await answers(server.url, f"?token={each}", Authorization=f"Bearer {each}")
        await ice_servers(server.url, f"/ice-servers?token={each}", method="POST")
        await ice_servers(server.url, f"/health?token={each}")
        await ice_servers(server.url, f"/?token={each}")
    peer = await connect(server, token())
    await peer.say("join", room_id="not-mine")
    assert await peer.receive() == FAILED
    peer.abort()
    told = f"{peer.id} is told 'failed to join room': .* may not join 'not-mine'"
    await asyncio.to_thread(server.wait_for_line, told)
    assert not quotations(server)


async def test_an_error_is_logged_without_the_url(caplog: pytest.LogCaptureFixture) -> None:
    """Tornado would log the request, whose URL may have a token."""

    def fail(grant: object, client_id: str | None) -> str:
        raise OSError("some reason")

    app = Application([("/ice-servers", IceServersHandler, {"door": None, "ice_servers": fail})])
    listening, port = bind_unused_port()
    http_server = HTTPServer(app)
    http_server.add_socket(listening)
    with caplog.at_level(logging.DEBUG):
        for path in ("/ice-servers?token=eyJ", "/ice-servers?token=eyJ%FF"):
            response = await ice_servers(f"ws://127.0.0.1:{port}/", path)
            assert response.status == 500
    http_server.stop()
    assert "some reason" in caplog.text
    assert "eyJ" not in "".join(
        record.getMessage() for record in caplog.records if record.name != "tornado.access"
    )


# Without tokens


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_without_the_settings(transport: str) -> None:
    """A token is ignored, wherever it is, and no subprotocol is selected."""
    with server_process(env={"SIGNALING_TRANSPORT": transport}) as server:
        names = f"signaling, bearer.{token(OTHER)}"
        response = await handshake(server.url, Sec_WebSocket_Protocol=names)
        assert "sec-websocket-protocol" not in response.headers
        assert await answers(server.url, Sec_WebSocket_Protocol=names) == WELCOME
        assert await answers(server.url, "?token=x", Authorization="Bearer x") == WELCOME


# Without the library, and who imports it: main.py, after which the program says what is there.
PROGRAM = f"""
import sys
sys.path.insert(0, {str(MAIN.parent)!r})
sys.modules.update(dict.fromkeys(%r))
import main
try:
    main.main()
finally:
    print("modules:", *sorted(sys.modules), file=sys.stderr)
"""


async def test_the_library_is_imported_only_for_tokens() -> None:
    imported = {}
    for secret in ("", SECRET):
        command = (sys.executable, "-P", "-c", PROGRAM % ([],))
        with server_process(env={"SIGNALING_AUTH_SECRETS": secret}, command=command) as server:
            pass
        modules = set(server.wait_for_line("modules: .*")[0].split())
        imported[secret] = modules & {"jwt", "cryptography", "edge.tokens"}
    assert imported == {"": set(), SECRET: {"jwt", "cryptography", "edge.tokens"}}


def test_without_the_library() -> None:
    """One line says what to install; the rest runs without it (see above)."""
    for missing in ("jwt", "cryptography"):
        ended = subprocess.run(
            [
                sys.executable,
                "-P",
                "-c",
                PROGRAM % ([missing],),
                "-addr",
                "127.0.0.1",
                "-port",
                "0",
            ],
            env={"SIGNALING_AUTH_SECRETS": SECRET},
            capture_output=True,
            text=True,
            timeout=10,
        )
        line, _ = ended.stderr.splitlines()
        assert line.startswith("to check tokens, install requirements.txt: ")
        assert missing in line
        assert ended.returncode == 2


# The settings


def test_secrets() -> None:
    """They are separated by commas or white space, and not in the representation."""
    config = Config.from_environ({"SIGNALING_AUTH_SECRETS": f" {SECRET},{SECOND}\n\t{OTHER}, "})
    assert config.auth_secrets == (SECRET, SECOND, OTHER)
    assert "secret" not in repr(config).replace("auth_secrets", "")
    umlauts = "ü" * 16
    assert Config.from_environ({"SIGNALING_AUTH_SECRETS": umlauts}).auth_secrets == (umlauts,)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("secret", "has a secret of 6 bytes (number 1); 32 are the least"),
        (f"{SECRET} {SECOND[:31]}", "has a secret of 31 bytes (number 2); 32 are the least"),
        (", ,", "has no secret"),
        ("secret-secret-secret-secret-\udcffsecret", "has a secret that is not UTF-8 (number 1)"),
    ],
)
def test_invalid_secrets(text: str, what: str) -> None:
    """They are not shown."""
    with pytest.raises(ConfigError) as raised:
        Config.from_environ({"SIGNALING_AUTH_SECRETS": text})
    assert str(raised.value) == f"SIGNALING_AUTH_SECRETS=... {what}"


@pytest.mark.parametrize("name", ["SIGNALING_AUTH_ISSUER", "SIGNALING_AUTH_AUDIENCE"])
def test_a_claim_is_nothing_without_keys(name: str) -> None:
    """Otherwise somebody would think that tokens are checked."""
    with pytest.raises(ConfigError, match=name):
        Config.from_environ({name: "x"})


NO_KEY = "is not a public key of RSA (of 2048 bits or more), P-256, Ed25519 or Ed448"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "it has no public key in PEM"),
        (SECRET, "it has no public key in PEM"),
        (pem(rsa.generate_private_key(65537, 1024)), f"key 1 {NO_KEY}"),
        (pem(P256, ec.generate_private_key(ec.SECP384R1())), f"key 2 {NO_KEY}"),
        (pem(P256).replace("M", "N", 1), f"key 1 {NO_KEY}"),
        (
            P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            f"key 1 {NO_KEY}",
        ),
    ],
    ids=["empty", "a-secret", "short-rsa", "p384", "broken", "private"],
)
def test_invalid_public_keys(content: str, what: str, tmp_path: Path) -> None:
    """One line says which key of which file cannot be used, with exit code 2."""
    keys = tmp_path / "public.pem"
    keys.write_text(content)
    assert refused_start(SIGNALING_AUTH_PUBLIC_KEYS=str(keys)) == (
        f"SIGNALING_AUTH_PUBLIC_KEYS='{keys}': {what}"
    )


def test_no_file_of_public_keys(tmp_path: Path) -> None:
    line = refused_start(SIGNALING_AUTH_PUBLIC_KEYS=str(tmp_path / "none.pem"))
    assert line.endswith("none.pem': No such file or directory")
    assert refused_start(SIGNALING_AUTH_PUBLIC_KEYS=str(tmp_path)).endswith("Is a directory")


def refused_start(**env: str) -> str:
    """Return the one line with which the server does not start."""
    ended = run_main("-addr", "127.0.0.1", "-port", "0", env=env)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    return line


# -mint


def mint(*args: str, **env: str) -> tuple[dict[str, Any], str, str]:
    """Return what a printed token says, the token, and the link that is printed after it."""
    ended = run_main(*args, env={"SIGNALING_AUTH_SECRETS": f"{SECRET} {SECOND}", **env})
    assert (ended.returncode, ended.stderr) == (0, "")
    made, link = ended.stdout.splitlines()
    options: Any = {"verify_aud": False}
    return jwt.decode(made, SECRET, ["HS256"], options=options), made, link


@pytest.mark.parametrize(
    ("flags", "ttl"), [([], 3600), (["-ttl", "1h30m"], 5400), (["-ttl=1.5s"], 2)]
)
def test_mint(flags: list[str], ttl: int) -> None:
    """It prints a token for the room, signed with the first secret, and a link to the demo."""
    earliest = time()
    claims, made, link = mint("-mint", "room", *flags)
    assert earliest + ttl <= claims.pop("exp") + 1 <= time() + ttl + 2
    assert claims == {"rooms": ["room"]}
    assert link == f"http://localhost:5000/#room&token={made}"


def test_mint_with_the_settings() -> None:
    """The token is one that this server takes, and the link leads to it."""
    env = {"SIGNALING_AUTH_ISSUER": "app", "SIGNALING_AUTH_AUDIENCE": "signaling", "PORT": "80"}
    claims, made, link = mint("-mint=a b&c/ü", "-addr=::1", **env)
    assert claims == {
        "rooms": ["a b&c/ü"],
        "iss": "app",
        "aud": "signaling",
        "exp": claims["exp"],
    }
    assert link == f"http://localhost:80/#a%20b%26c%2F%C3%BC&token={made}"
    assert refusal(made) is None


def test_mint_without_a_secret(tmp_path: Path) -> None:
    keys = tmp_path / "public.pem"
    keys.write_text(pem(P256))
    for env in ({}, {"SIGNALING_AUTH_PUBLIC_KEYS": str(keys)}):
        ended = run_main("-mint", "room", env=env)
        assert (ended.returncode, ended.stdout) == (2, "")
        (line,) = ended.stderr.splitlines()
        assert line == "-mint signs with the first of SIGNALING_AUTH_SECRETS, and there is none"
