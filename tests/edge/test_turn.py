"""`SIGNALING_TURN_URLS`: clients are given a TURN server, with passwords that expire."""

import asyncio
import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aioice.stun import TransactionFailed
from aioice.turn import create_turn_endpoint

from config.config import Config, ConfigError
from edge.turn import Turn
from tests.edge.asking import ice_servers
from tests.support.coturn import needs_coturn, running_coturn
from tests.support.server_process import TRANSPORTS, ServerProcess, run_main, server_process

SECRET = "north-wind"
URLS = ("turn:turn.example", "turns:turn.example:443?transport=tcp")
SETTINGS = {"SIGNALING_TURN_URLS": ", ".join(URLS), "SIGNALING_TURN_SECRET": SECRET}
STUN = {"urls": "stun:stun.example"}


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    env = SETTINGS | {
        "SIGNALING_ICE_SERVERS": json.dumps([STUN]),
        "SIGNALING_TRANSPORT": request.param,
        "SIGNALING_LOG_LEVEL": "DEBUG",
    }
    with server_process(env=env) as server:
        yield server


async def answer(server: ServerProcess, query: str = "") -> Any:
    response = await ice_servers(server.url, f"/ice-servers{query}")
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    return json.loads(response.body)


def sign(secret: str, text: str) -> str:
    """Return the HMAC-SHA1 of a text as RFC 2104 defines it, in Base64."""
    key = secret.encode().ljust(64, b"\0")
    inner = hashlib.sha1(bytes(byte ^ 0x36 for byte in key) + text.encode()).digest()
    return base64.b64encode(
        hashlib.sha1(bytes(byte ^ 0x5C for byte in key) + inner).digest()
    ).decode()


async def test_the_turn_server_is_added(server: ServerProcess) -> None:
    """It comes after the other ICE servers, with credentials that can be used for an hour."""
    before = int(time.time())
    told = await answer(server)
    assert list(told) == ["iceServers", "ttl"]
    assert told["ttl"] == 3600
    stun, turn = told["iceServers"]
    assert stun == STUN
    assert turn["urls"] == [*URLS]
    expiry, _, name = turn["username"].partition(":")
    assert before + 3600 <= int(expiry) <= time.time() + 3600
    assert name
    assert turn["credential"] == sign(SECRET, turn["username"])


async def test_without_a_token_each_has_a_name_of_its_own(server: ServerProcess) -> None:
    """So that the TURN server can bound what each may do."""
    names = {(await answer(server))["iceServers"][1]["username"].split(":")[1] for _ in range(3)}
    assert len(names) == 3


async def name(server: ServerProcess, query: str) -> str:
    """Return the name that is for whom asks like this."""
    username: str = (await answer(server, query))["iceServers"][1]["username"]
    return username.partition(":")[2]


async def test_the_name_begins_with_the_id_that_a_client_says_it_has(server: ServerProcess) -> None:
    """What comes behind it differs, so that nobody uses up what another may do."""
    client_id = "9m4e2mr0ui3e8a215n4g"
    names = {await name(server, f"?client_id={client_id}") for _ in range(3)}
    assert len(names) == 3
    assert {it.rpartition("-")[0] for it in names} == {client_id}


@pytest.mark.parametrize(
    "query",
    [
        "?connected=1",
        "?client_id",
        "?client_id=",
        "?client_id=9m4e2mr0ui3e8a215n4",
        "?client_id=9m4e2mr0ui3e8a215n4gg",
        "?client_id=9M4E2MR0UI3E8A215N4G",
        "?client_id=9m4e2mr0ui3e8a215n4%0a",
        "?client_id=9m4e2mr0ui3e8a215n4%ff",
    ],
)
async def test_what_is_no_id_is_not_in_the_name(server: ServerProcess, query: str) -> None:
    assert re.fullmatch("[0-9a-f]{16}", await name(server, query))


async def test_nothing_secret_is_logged(server: ServerProcess) -> None:
    credential = (await answer(server))["iceServers"][1]["credential"]
    log = "\n".join(server.lines)
    assert SECRET not in log
    assert credential not in log


class Granted:
    """What a client was granted whose token says for whom it is."""

    def __init__(self, subject: str | None) -> None:
        self.subject = subject

    def allows(self, room_id: str) -> bool:
        return True


def turn_for(subject: str | None) -> Any:
    turn = Turn(URLS, SECRET, 60, "[]", clock=lambda: 1000.9)
    told = json.loads(turn.ice_servers(Granted(subject), "9m4e2mr0ui3e8a215n4g"))
    assert told["ttl"] == 60
    (server,) = told["iceServers"]
    return server


def test_the_name_is_the_subject_of_the_token() -> None:
    """Whatever id the client has."""
    server = turn_for("ann@example.com")
    assert server["username"] == "1060:ann@example.com"
    assert server["credential"] == sign(SECRET, "1060:ann@example.com")


@pytest.mark.parametrize("subject", [None, ""])
def test_a_token_without_a_subject(subject: str | None) -> None:
    assert len(turn_for(subject)["username"]) > len("1060:") + 10


def test_a_subject_that_is_no_text() -> None:
    """A lone surrogate is something else then: it cannot be sent."""
    assert turn_for("a\ud800")["username"] == "1060:a%3F"


def test_a_long_subject_is_cut() -> None:
    """A user name may have 509 bytes, and a browser throws at a longer one."""
    assert len(turn_for("ü" * 300)["username"]) == 509


async def test_the_time_can_be_set() -> None:
    with server_process(env=SETTINGS | {"SIGNALING_TURN_TTL": "20"}) as server:
        told = await answer(server)
    assert told["ttl"] == 20
    assert int(told["iceServers"][1]["username"].split(":")[0]) <= time.time() + 20


# coturn itself


@pytest.fixture(scope="module")
def coturn() -> Iterator[tuple[str, int]]:
    with running_coturn(SECRET) as address:
        host, port = address.split(":")
        yield host, int(port)


RELAYS = 0


async def allocate(coturn: tuple[str, int], username: str, credential: str) -> int:
    """Ask coturn to relay; return RELAYS if it does, or else the code of its error."""
    try:
        async with asyncio.timeout(10):
            transport, _ = await create_turn_endpoint(
                asyncio.DatagramProtocol, coturn, username, credential
            )
    except TransactionFailed as error:
        return int(error.response.attributes["ERROR-CODE"][0])
    transport.close()
    return RELAYS


@needs_coturn
@pytest.mark.parametrize(
    "subject", ["ann", "Ann Lee", "ann@example.com", "a:b", "7", "Åsa", "'\"\\\n", "x" * 600]
)
async def test_coturn_takes_the_credentials(coturn: tuple[str, int], subject: str) -> None:
    """Whatever the subject is: coturn by itself takes no blank, quote or backslash."""
    assert await allocate(coturn, *Turn(URLS, SECRET, 60, "[]").credentials(subject)) == RELAYS


@needs_coturn
async def test_coturn_refuses_others(coturn: tuple[str, int]) -> None:
    """Neither those that have expired, nor those of another secret or another user name."""
    expired = Turn(URLS, SECRET, 60, "[]", clock=lambda: time.time() - 61)
    assert await allocate(coturn, *expired.credentials("ann")) == 401
    assert await allocate(coturn, *Turn(URLS, "another", 60, "[]").credentials("ann")) == 401
    username, credential = Turn(URLS, SECRET, 60, "[]").credentials("ann")
    assert await allocate(coturn, username + "a", credential) == 401
    assert await allocate(coturn, f"9{username}", credential) == 401


# The settings


def test_settings() -> None:
    config = Config.from_environ(SETTINGS)
    assert (config.turn_urls, config.turn_secret, config.turn_ttl) == (URLS, SECRET, 3600)
    assert SECRET not in repr(config)


@pytest.mark.parametrize(
    "urls",
    [
        "turn.example",
        "stun:turn.example",
        "turn:a,stun:b",
        "turn:a,",
        " ",
        "turn:a b",
        "turn:a?transport=tls",
        "turn:north-wind@a",
        "turn://a",
    ],
)
def test_invalid_urls(urls: str) -> None:
    """They are not shown, since somebody may have written a password into one."""
    with pytest.raises(ConfigError, match=r"^SIGNALING_TURN_URLS=\.\.\. is not a list") as error:
        Config.from_environ(SETTINGS | {"SIGNALING_TURN_URLS": urls})
    assert SECRET not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_secret_that_is_no_text() -> None:
    """It is not shown either."""
    with pytest.raises(ConfigError, match=r"^SIGNALING_TURN_SECRET=\.\.\. is not UTF-8$"):
        Config.from_environ(SETTINGS | {"SIGNALING_TURN_SECRET": "north\udcff"})


@pytest.mark.parametrize("seconds", ["0", "1.5", "1h", "86401"])
def test_invalid_time(seconds: str) -> None:
    with pytest.raises(ConfigError, match=f"^SIGNALING_TURN_TTL='{seconds}' is not a whole number"):
        Config.from_environ(SETTINGS | {"SIGNALING_TURN_TTL": seconds})


@pytest.mark.parametrize("given", [*SETTINGS])
def test_one_without_the_other(given: str) -> None:
    """It is one line, which has both names, and exit code 2."""
    ended = run_main(env={given: SETTINGS[given]})
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    (other,) = SETTINGS.keys() - {given}
    assert f"{given} needs {other}" in line
    assert SECRET not in line
