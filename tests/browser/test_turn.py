"""Calls through coturn, a real TURN server, with the passwords that the server gives."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from edge.turn import Turn
from tests.browser.conftest import OpenTab, url_of
from tests.browser.test_sdk import connected, sdk_page
from tests.support.coturn import needs_coturn, running_coturn
from tests.support.server_process import server_process

pytestmark = needs_coturn

SECRET = "north-wind"


@pytest.fixture(scope="module")
def coturn() -> Iterator[str]:
    """Run coturn and return its URL."""
    with running_coturn(SECRET) as address:
        yield f"turn:{address}"


RELAYED = "{ mediaStreamConstrains: {}, rtcConfiguration: { iceTransportPolicy: 'relay' } }"


NAMED = """client.peerConnection([...client.members.keys()][0]).getConfiguration().iceServers
  .some(({ username }) => username.includes(`:${client.clientId}-`))"""


def candidates(page: Page) -> set[str]:
    """Return the types of the two candidates of which the connection to the only member is made."""
    types: list[str] = page.evaluate(
        """async () => {
          const pc = client.peerConnection([...client.members.keys()][0]);
          const stats = await pc.getStats();
          const [transport] = [...stats.values()].filter(({ type }) => type === "transport");
          const pair = stats.get(transport.selectedCandidatePairId);
          return [pair.localCandidateId, pair.remoteCandidateId]
            .map((id) => stats.get(id).candidateType);
        }"""
    )
    return set(types)


def test_a_call_through_coturn(open_tab: OpenTab, coturn: str) -> None:
    """Two clients that may only use relays exchange messages and pictures."""
    env = {
        "SIGNALING_ICE_SERVERS": "[]",
        "SIGNALING_TURN_URLS": coturn,
        "SIGNALING_TURN_SECRET": SECRET,
    }
    with server_process("-demo", env=env) as server:
        tabs = [sdk_page(open_tab, url_of(server)) for _ in range(2)]
        for tab in tabs:
            tab.evaluate(f"client = newClient({RELAYED}); client.joinRoom('relayed')")
        for tab in tabs:
            connected(tab, 1)
            assert candidates(tab) == {"relay"}
            # New connections have a password with the client's id in its name.
            tab.wait_for_function(NAMED)
        first, second = tabs
        first.wait_for_function("client.send('hello') === 1")
        second.wait_for_function("client.events.some(({ data }) => data === 'hello')")
        first.evaluate("client.shareScreen(picture())")
        second.wait_for_function("[...client.members.values()][0].streams.length === 1")
        for tab in tabs:
            tab.evaluate("client.close()")


# Returns which relays there are and which errors, when all was tried.
GATHER = """async (iceServers) => {
  const pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" });
  const found = { relays: 0, errors: [] };
  pc.onicecandidateerror = ({ errorCode }) => found.errors.push(errorCode);
  pc.createDataChannel("any");
  const gathered = new Promise((resolve) => {
    pc.onicecandidate = ({ candidate }) => candidate ? found.relays++ : resolve();
  });
  await pc.setLocalDescription();
  await gathered;
  pc.close();
  return found;
}"""


def gather(open_tab: OpenTab, url: str, credentials: tuple[str, str]) -> dict[str, Any]:
    username, credential = credentials
    page = open_tab("http://localhost/", html="<link rel='icon' href='data:,'>")
    server = {"urls": url, "username": username, "credential": credential}
    found: dict[str, Any] = page.evaluate(GATHER, [server])
    return found


@pytest.mark.parametrize(
    ("secret", "since", "found"),
    [
        (SECRET, 0, {"relays": 1, "errors": []}),
        (SECRET, -61, {"relays": 0, "errors": [401]}),
        ("another", 0, {"relays": 0, "errors": [401]}),
    ],
    ids=["good", "expired", "wrong"],
)
def test_credentials(
    open_tab: OpenTab, coturn: str, secret: str, since: int, found: dict[str, Any]
) -> None:
    """Those that have expired, or were made with another secret, are refused with 401."""
    turn = Turn([coturn], secret, 60, "[]", clock=lambda: time.time() + since)
    assert gather(open_tab, coturn, turn.credentials("ann")) == found
