"""The SDK and its server: who is let in, and which ICE servers they use.

The page comes from another origin than the server, unless a test says otherwise.
"""

import json
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import jwt
import pytest
from playwright.sync_api import Page

from tests.browser.conftest import OpenTab, url_of
from tests.browser.gatekeeper import (
    FORBIDDEN_ORIGIN,
    FULL,
    TOKEN_EXPIRED,
    UNAUTHORIZED,
    Gatekeeper,
    Refusal,
    running_gatekeeper,
)
from tests.browser.test_sdk import NO_SERVER, connected, events, sdk_page
from tests.support.server_process import server_process

# Chromium also logs each question that is answered with an error.
REFUSED = rf"{NO_SERVER}|the server responded with a status of"

STUN = "stun:stun.l.google.com:19302"

REASON = """room => client.joinRoom(room).then(
  () => "joined", (error) => [error.constructor.name, error.name, error.reason ?? String(error)])"""


def refusal(reason: str) -> list[str]:
    return ["ConnectionError", "ConnectionError", reason]


@pytest.fixture
def gate() -> Iterator[Gatekeeper]:
    with running_gatekeeper() as gate:
        yield gate


@pytest.fixture
def page(gate: Gatekeeper, open_tab: OpenTab, demo: str) -> Page:
    """Open a page of the demo's server, on which `use` makes a client of the gatekeeper's."""
    return sdk_page(open_tab, demo)


def use(page: Page, url: str, options: str = "{}") -> None:
    """Make a client with these options, without devices."""
    page.evaluate(
        f"""url => {{
          window.client = newClient({{
            signalingServerEndpoint: url, mediaStreamConstrains: {{}}, ...{options}
          }});
        }}""",
        url,
    )


def reasons(page: Page) -> list[str]:
    """Return the reasons of all attempts to reconnect that have failed."""
    told: list[str] = page.evaluate(
        "client.events.filter(({ source }) => source === 'connection')"
        ".map(({ error }) => error.reason)"
    )
    return told


def time_to_join(page: Page) -> int:
    """Return how long `joinRoom` takes, in milliseconds, whether it resolves or rejects."""
    page.evaluate(
        """() => {
          const start = Date.now();
          const settled = () => (window.took = Date.now() - start);
          client.joinRoom("room").then(settled, settled);
        }"""
    )
    page.wait_for_function("window.took")
    took: int = page.evaluate("took")
    return took


def servers(page: Page) -> list[Any]:
    """Wait for a member, and return the ICE servers of the connection to it."""
    page.wait_for_function("client.members.size === 1")
    urls: list[Any] = page.evaluate(
        """() => {
          const pc = client.peerConnection([...client.members.keys()][0]);
          return pc.getConfiguration().iceServers.flatMap(({ urls }) => urls);
        }"""
    )
    return urls


# Why was I refused?


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (UNAUTHORIZED, "unauthorized"),
        (TOKEN_EXPIRED, "token-expired"),
        (FORBIDDEN_ORIGIN, "forbidden-origin"),
        (FULL, "full"),
        ((HTTPStatus.TOO_MANY_REQUESTS, "full"), "full"),
        ((HTTPStatus.IM_A_TEAPOT, "tea-only"), "unreachable"),
    ],
)
def test_a_refusal(
    page: Page, gate: Gatekeeper, complaints: list[str], refused: Refusal, reason: str
) -> None:
    """`joinRoom` rejects with the reason; the client can be used for another try."""
    complaints.append(REFUSED)
    gate.refuses = lambda token: refused
    use(page, gate.url, "{ token: 'a.b.c' }")
    assert page.evaluate(REASON, "room") == refusal(reason)
    assert page.evaluate("client.state") == "new"
    assert gate.handshakes == ["a.b.c"]
    gate.refuses = lambda token: None
    assert page.evaluate(REASON, "room") == "joined"
    assert not events(page, "error")


@pytest.mark.parametrize("path", ["", "nothing/here/"])
def test_a_server_that_says_nothing(
    page: Page, demo: str, complaints: list[str], path: str
) -> None:
    """Without an answer, or with one of another kind, it counts as unreachable."""
    complaints.append(rf"{REFUSED}|blocked by CORS policy")
    use(page, f"{demo}{path}" if path else "ws://localhost:9")
    assert page.evaluate(REASON, "room") == refusal("unreachable")


SECRET = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("expiry", "reason"), [(None, "unauthorized"), (-60, "token-expired"), (60, "joined")]
)
def test_a_token(page: Page, complaints: list[str], expiry: int | None, reason: str) -> None:
    """So says the server itself to a page without a token, or with one that has expired."""
    complaints.append(REFUSED)
    with server_process(env={"SIGNALING_AUTH_SECRETS": SECRET}) as server:
        options = "{}"
        if expiry is not None:
            claims = {"rooms": ["room"], "exp": int(time.time()) + expiry}
            options = json.dumps({"token": jwt.encode(claims, SECRET)})
        use(page, url_of(server), options)
        told = page.evaluate(REASON, "room")
        assert told == (reason if reason == "joined" else refusal(reason))
        page.evaluate("client.close()")


@pytest.mark.parametrize(
    "limit", ["MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS", "CONNECTION_RATE"]
)
def test_a_limit(page: Page, complaints: list[str], limit: str) -> None:
    """So says the server itself to one client too many; the one that is in notices nothing."""
    complaints.append(REFUSED)
    with server_process(env={f"SIGNALING_{limit}": "1"}) as server:
        use(page, url_of(server))
        assert page.evaluate(REASON, "room") == "joined"
        page.evaluate("window.first = client")
        use(page, url_of(server))
        assert page.evaluate(REASON, "room") == refusal("full")
        assert page.evaluate("first.state") == "joined"
        page.evaluate("first.close()")


def test_a_forbidden_origin(page: Page, complaints: list[str]) -> None:
    """So says the server itself to a page of another origin."""
    complaints.append(REFUSED)
    with server_process(env={"SIGNALING_ALLOWED_ORIGINS": "https://app.example"}) as server:
        use(page, url_of(server))
        assert page.evaluate(REASON, "room") == refusal("forbidden-origin")


def test_a_server_that_falls_silent(page: Page, gate: Gatekeeper, complaints: list[str]) -> None:
    """Who is not told why waits three seconds at most."""
    complaints.append(REFUSED)
    gate.refuses = lambda token: UNAUTHORIZED
    page.route("**/ice-servers*", lambda route: None)
    use(page, gate.url)
    assert 3000 <= time_to_join(page) < 6000


# Tokens


def test_no_token(page: Page, gate: Gatekeeper) -> None:
    """Without the option, nothing is sent of it."""
    use(page, gate.url)
    assert page.evaluate(REASON, "room") == "joined"
    assert (gate.handshakes, gate.asked) == ([None], [])


TOKENS = """{
  token: async () => { calls.push(0); await null; return tokens.shift() ?? "last"; },
}"""


def with_tokens(page: Page, gate: Gatekeeper, *tokens: str) -> None:
    """Make a client whose function for tokens returns these, one after another."""
    page.evaluate("tokens => Object.assign(window, { tokens, calls: [] })", [*tokens])
    use(page, gate.url, TOKENS)


def good(token: str | None) -> Refusal | None:
    return None if token and token.startswith("good") else TOKEN_EXPIRED


def test_a_fresh_token_is_asked_for_at_once(
    page: Page, gate: Gatekeeper, complaints: list[str]
) -> None:
    """A token that is not accepted is asked for again, once, before `joinRoom` rejects."""
    complaints.append(REFUSED)
    gate.refuses = good
    with_tokens(page, gate, "old", "good")
    assert page.evaluate(REASON, "room") == "joined"
    assert gate.handshakes == ["old", "good"]
    assert not events(page, "error")
    with_tokens(page, gate, "old", "older", "good")
    assert page.evaluate(REASON, "room") == refusal("token-expired")
    assert gate.handshakes[2:] == ["old", "older"]


def test_one_token_serves_a_connection(page: Page, gate: Gatekeeper) -> None:
    """The function is called once for the handshake and the question for ICE servers."""
    gate.refuses = good
    page.evaluate("window.calls = []")
    use(page, gate.url, "{ token: () => calls.push(0) && 'good', rtcConfiguration: undefined }")
    assert page.evaluate(REASON, "room") == "joined"
    assert page.evaluate("calls.length") == 1
    assert (gate.handshakes, gate.asked) == (["good"], ["good"])


def test_reconnecting_with_a_function(page: Page, gate: Gatekeeper, complaints: list[str]) -> None:
    """The function is called for each connection; the reason of each that fails is told."""
    complaints.append(REFUSED)
    gate.refuses = good
    with_tokens(page, gate, "good-1", "old-1", "old-2", "good-2")
    assert page.evaluate(REASON, "room") == "joined"
    gate.cut()
    page.wait_for_function("client.events.filter(({ state }) => state === 'joined').length === 2")
    assert reasons(page) == ["token-expired"]
    assert gate.handshakes == ["good-1", "old-1", "old-2", "good-2"]


def test_a_function_that_throws(page: Page, gate: Gatekeeper, complaints: list[str]) -> None:
    """`joinRoom` rejects with what it throws; while reconnecting, it is a callback's error."""
    page.evaluate("window.fails = true")
    use(page, gate.url, "{ token: async () => { if (fails) throw new RangeError('no'); } }")
    assert page.evaluate(REASON, "room") == ["RangeError", "RangeError", "RangeError: no"]
    assert (page.evaluate("client.state"), gate.handshakes) == ("new", [])
    page.evaluate("fails = false")
    assert page.evaluate(REASON, "room") == "joined"
    page.evaluate("fails = true")
    gate.cut()
    page.wait_for_function("client.events.some(({ source }) => source === 'callback')")
    assert page.evaluate("client.state") == "reconnecting"
    page.evaluate("fails = false")
    page.wait_for_function("client.state === 'joined'")


@pytest.mark.parametrize("refused", [UNAUTHORIZED, TOKEN_EXPIRED, FORBIDDEN_ORIGIN])
def test_no_way_back(page: Page, gate: Gatekeeper, complaints: list[str], refused: Refusal) -> None:
    """A client that would be refused again gives up, and can be told to join again."""
    complaints.append(REFUSED)
    use(page, gate.url, "{ token: 'fixed' }")
    assert page.evaluate(REASON, "room") == "joined"
    gate.refuses = lambda token: refused
    gate.cut()
    page.wait_for_function("client.state === 'new'")
    assert reasons(page) == [refused[1]]
    assert len(gate.handshakes) == 2
    gate.refuses = lambda token: None
    assert page.evaluate(REASON, "room") == "joined"


@pytest.mark.parametrize("refused", [FULL, (HTTPStatus.BAD_GATEWAY, "?")])
def test_trying_again(
    page: Page, gate: Gatekeeper, complaints: list[str], refused: Refusal
) -> None:
    """A server that is full, or does not say why, is asked again and again."""
    complaints.append(REFUSED)
    use(page, gate.url, "{ token: 'fixed' }")
    assert page.evaluate(REASON, "room") == "joined"
    gate.refuses = lambda token: refused
    gate.cut()
    page.wait_for_function(
        "client.events.filter(({ source }) => source === 'connection').length === 2"
    )
    gate.refuses = lambda token: None
    page.wait_for_function("client.state === 'joined'")
    assert set(reasons(page)) == {refused[1] if refused is FULL else "unreachable"}


def test_a_call_is_not_cut(
    page: Page, gate: Gatekeeper, open_tab: OpenTab, demo: str, complaints: list[str]
) -> None:
    """Members whose media flow stay, and the client tries again, until all have gone."""
    complaints.append(REFUSED)
    other = sdk_page(open_tab, demo)
    for tab, token in ((page, "'fixed'"), (other, "() => 'other'")):
        use(tab, gate.url, f"{{ token: {token} }}")
        assert tab.evaluate(REASON, "room") == "joined"
    for tab in (page, other):
        connected(tab, 1)
        tab.wait_for_function("client.send(null) === 1")
    gate.refuses = lambda token: TOKEN_EXPIRED
    gate.cut()
    page.wait_for_function(
        "client.events.filter(({ source }) => source === 'connection').length === 2"
    )
    assert page.evaluate("client.state") == "reconnecting"
    connected(page, 1)
    assert page.evaluate("client.send('still here')") == 1
    other.wait_for_function("client.events.some(({ data }) => data === 'still here')")
    other.evaluate("client.close()")
    page.wait_for_function("client.state === 'new'")
    assert page.evaluate("client.members.size") == 0


def test_a_join_that_waits(page: Page, gate: Gatekeeper, complaints: list[str]) -> None:
    """A `joinRoom` that waits for a place in the room rejects when the client is not let in."""
    complaints.append(REFUSED)
    gate.refuses_joins = True
    use(page, gate.url, "{ token: 'fixed' }")
    page.evaluate(f"() => {{ window.outcome = ({REASON})('room'); }}")
    page.wait_for_function("client.state === 'reconnecting'")
    gate.refuses = lambda token: TOKEN_EXPIRED
    assert page.evaluate("outcome") == refusal("token-expired")
    assert page.evaluate("client.state") == "new"


def test_a_token_that_is_none(page: Page, gate: Gatekeeper, complaints: list[str]) -> None:
    """What the browser cannot send with a handshake is a token that the server does not accept."""
    complaints.append(REFUSED)
    gate.refuses = good
    use(page, gate.url, "{ token: 'a b' }")
    assert page.evaluate(REASON, "room") == refusal("token-expired")
    assert gate.handshakes == []


# ICE servers


def join_two(open_tab: OpenTab, demo: str, url: str, options: str) -> tuple[Page, Page]:
    """Have two clients join the same room."""
    pages = sdk_page(open_tab, demo), sdk_page(open_tab, demo)
    for page in pages:
        use(page, url, options)
        assert page.evaluate(REASON, "room") == "joined"
    return pages


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("{ rtcConfiguration: undefined }", ["stun:127.0.0.1:1"]),
        ("{ rtcConfiguration: { bundlePolicy: 'max-bundle' } }", ["stun:127.0.0.1:1"]),
        (
            "{ rtcConfiguration: { iceServers: [{ urls: 'stun:127.0.0.1:2' }] } }",
            ["stun:127.0.0.1:2"],
        ),
        ("{ rtcConfiguration: { iceServers: [] } }", []),
    ],
)
def test_ice_servers(
    gate: Gatekeeper, open_tab: OpenTab, demo: str, options: str, expected: list[str]
) -> None:
    """They are the page's or else the server's, wherever the page is."""
    gate.answer = {"iceServers": [{"urls": "stun:127.0.0.1:1"}]}
    pages = join_two(open_tab, demo, gate.url, options)
    for page in pages:
        assert servers(page) == expected
        policy = page.evaluate(
            "client.peerConnection([...client.members.keys()][0]).getConfiguration().bundlePolicy"
        )
        assert policy == ("max-bundle" if "max-bundle" in options else "balanced")
    assert len(gate.asked) == (2 if expected == ["stun:127.0.0.1:1"] else 0)


def test_the_real_server(open_tab: OpenTab, demo: str) -> None:
    """A page of one server uses the ICE servers of another, which its client connects to."""
    env = {"SIGNALING_ICE_SERVERS": '[{"urls":"stun:127.0.0.1:3"}]'}
    with server_process(env=env) as server:
        pages = join_two(open_tab, demo, url_of(server), "{ rtcConfiguration: undefined }")
        for page in pages:
            assert servers(page) == ["stun:127.0.0.1:3"]
        for page in pages:
            page.evaluate("client.close()")


@pytest.mark.parametrize("answer", ["status", "nonsense", "nothing"])
def test_without_an_answer(
    gate: Gatekeeper, open_tab: OpenTab, demo: str, complaints: list[str], answer: str
) -> None:
    """A server that knows no `/ice-servers`, or is slow, keeps nobody from joining."""
    complaints.append(REFUSED)
    pages = sdk_page(open_tab, demo), sdk_page(open_tab, demo)
    for page in pages:
        if answer == "status":
            page.route("**/ice-servers*", lambda route: route.fulfill(status=404, body="no"))
        elif answer == "nonsense":
            page.route("**/ice-servers*", lambda route: route.fulfill(json={"iceServers": 5}))
        else:
            page.route("**/ice-servers*", lambda route: None)
        use(page, gate.url, "{ rtcConfiguration: undefined }")
        assert time_to_join(page) < 6000
        assert page.evaluate("client.state") == "joined"
    assert servers(pages[0]) == [STUN]


def test_what_the_browser_refuses(page: Page, gate: Gatekeeper) -> None:
    """`joinRoom` rejects with its error, and asks again the next time."""
    gate.answer = {"iceServers": [{"urls": "nonsense"}]}
    use(page, gate.url, "{ rtcConfiguration: undefined }")
    name, _, text = page.evaluate(REASON, "room")
    assert (name, "nonsense" in text) == ("DOMException", True)
    assert page.evaluate("client.state") == "new"
    gate.answer = {"iceServers": []}
    assert page.evaluate(REASON, "room") == "joined"


def test_renewal(gate: Gatekeeper, open_tab: OpenTab, demo: str) -> None:
    """When half of their time is over, the servers are asked for again, with a token.

    Connections that are there are told of the new ones.
    """
    gate.answer = {"iceServers": [{"urls": "stun:127.0.0.1:1"}], "ttl": 4}
    page, other = join_two(
        open_tab, demo, gate.url, "{ rtcConfiguration: undefined, token: () => 'a.b' }"
    )
    assert servers(page) == ["stun:127.0.0.1:1"]
    gate.answer = {"iceServers": [{"urls": "stun:127.0.0.1:2"}], "ttl": 4}
    page.wait_for_function(
        "client.peerConnection([...client.members.keys()][0])"
        ".getConfiguration().iceServers[0].urls[0] === 'stun:127.0.0.1:2'"
    )
    waited = page.evaluate(
        """() => {
          const [first, second] = performance.getEntriesByType("resource")
            .filter(({ name }) => name.includes("/ice-servers"));
          return second.startTime - first.responseEnd;
        }"""
    )
    assert 1900 < waited < 3900
    assert set(gate.asked) == {"a.b"}
    assert not events(page, "error", "leave")
    # New connections use them too.
    other.evaluate("client.close()")
    page.wait_for_function("client.members.size === 0")
    other.evaluate("client.joinRoom('room')")
    assert servers(page) == ["stun:127.0.0.1:2"]


def test_the_id_is_told_when_there_is_one(page: Page, gate: Gatekeeper) -> None:
    """Joining does not wait for that; it is told for a password, and without a token."""
    gate.answer = {"iceServers": [], "ttl": 600}
    page.route("**/ice-servers?client_id=*", lambda route: None)
    use(page, gate.url, "{ rtcConfiguration: undefined }")
    with page.expect_request("**/ice-servers?client_id=*") as asked:
        assert time_to_join(page) < 3000
    client_id = page.evaluate("client.clientId")
    assert asked.value.url.endswith(f"?client_id={client_id}")
    assert gate.queries == ["connected=1"]

    page.unroute("**/ice-servers?client_id=*")
    with page.expect_response(lambda it: "client_id=" in it.url and client_id not in it.url):
        gate.cut()
    new_id = page.evaluate("client.clientId")
    assert gate.queries[1:] == [f"client_id={client_id}", f"client_id={new_id}"]


def test_a_renewal_that_fails(page: Page, gate: Gatekeeper, complaints: list[str]) -> None:
    """What there is is kept and asked for again soon; after `close`, it is not."""
    complaints.append(REFUSED)
    gate.answer = {"iceServers": [], "ttl": 4}
    use(page, gate.url, "{ rtcConfiguration: undefined }")
    assert page.evaluate(REASON, "room") == "joined"
    gate.refuses = lambda token: FULL
    page.evaluate(
        """() => {
          window.fetched = [];
          const { fetch } = window;
          window.fetch = (...args) => { fetched.push(Date.now()); return fetch(...args); };
        }"""
    )
    page.wait_for_function("fetched.length === 3")
    first, *others = page.evaluate("fetched")
    assert others[-1] - first < 2000
    gate.refuses = lambda token: None
    page.wait_for_function("fetched.length === 4")
    assert page.evaluate("client.state") == "joined"
    assert not events(page, "error")
    page.evaluate("client.close()")
    page.wait_for_timeout(3000)
    assert page.evaluate("fetched.length") == 4
