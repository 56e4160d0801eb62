"""The SDK in Firefox, and between Firefox and Chromium, which report some things differently."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import OpenFirefoxTab, OpenTab, url_of
from tests.browser.firefox import FirefoxTab
from tests.browser.test_sdk import NO_SERVER, PAGES, connected, events, sdk_page
from tests.support.server_process import server_process

Tab = Page | FirefoxTab
Join = Callable[..., Tab]

# In the order in which they join.
PAIRS = [("firefox", "chromium"), ("chromium", "firefox"), ("firefox", "firefox")]
RESTARTS = 4
# Firefox logs these for a connection that is refused or lost.
NO_SERVER_FIREFOX = r"can.t establish a connection|was interrupted"

STREAMS = "count => [...client.members.values()][0]?.streams.length === count"


@pytest.fixture
def join(open_tab: OpenTab, open_firefox_tab: OpenFirefoxTab, demo: str) -> Join:
    """Open a tab of this browser with a client that joins the room."""

    def join(browser: str, room: str, url: str = demo) -> Tab:
        tab: Tab
        if browser == "chromium":
            tab = sdk_page(open_tab, url)
        else:
            tab = open_firefox_tab(f"{url}page.html", (PAGES / "sdk.html").read_text())
            tab.wait_for_function("window.ready")
        tab.evaluate("room => client.joinRoom(room)", room)
        return tab

    return join


def understands(tab: Tab) -> None:
    """Wait until the member has sent something over the data channel."""
    tab.wait_for_function("client.send(null) === 1")


@pytest.mark.parametrize("browsers", PAIRS)
def test_members_see_and_hear_each_other(join: Join, browsers: tuple[str, str]) -> None:
    """Pictures, sound and messages flow both ways."""
    tabs = [join(browser, f"media {browsers}") for browser in browsers]
    for tab in tabs:
        (client_id,) = connected(tab, 1)
        understands(tab)
        tab.wait_for_function(
            """async id => {
              const stats = [...(await client.peerConnection(id).getStats()).values()]
                .filter(({ type }) => type === "inbound-rtp");
              return stats.some(({ framesDecoded }) => framesDecoded > 5)
                && stats.some(({ totalAudioEnergy }) => totalAudioEnergy > 0);
            }""",
            arg=client_id,
        )
    for tab, other in (tabs, tabs[::-1]):
        tab.evaluate("client.send('hello')")
        other.wait_for_function("client.events.some(({ data }) => data === 'hello')")
        assert not events(tab, "leave", "trackend", "error")


@pytest.mark.parametrize("browsers", PAIRS)
def test_restarts_leave_no_ghost(
    join: Join, browsers: tuple[str, str], complaints: list[str]
) -> None:
    """However often the server restarts, each member meets the other once, whoever is back first.

    The one that is back first has an offer out that nobody can get before the other one is back.
    The page is not told meanwhile that the connection is any worse.
    """
    complaints += [NO_SERVER, NO_SERVER_FIREFOX]
    port = "0"
    tabs: list[Tab] = []
    for restart in range(1 + RESTARTS):
        with server_process("-demo", "-port", port, exit_code=-9) as server:
            if not tabs:
                port = str(server.port)
                tabs = [join(browser, "restarted", url_of(server)) for browser in browsers]
                known = [connected(tab, 1) for tab in tabs]
                for tab in tabs:
                    understands(tab)
                told = [len(events(tab, "peer")) for tab in tabs]
            else:
                for tab in tabs[:: 1 if restart % 2 else -1]:
                    tab.evaluate("dispatchEvent(new Event('online'))")
                    tab.wait_for_function("client.state === 'joined'")
            # When this has gone through the server, they have found each other again.
            for tab, other in (tabs, tabs[::-1]):
                tab.evaluate("void client.shareScreen(picture())")
                other.wait_for_function(STREAMS, arg=2)
                tab.evaluate("client.stopScreen()")
                other.wait_for_function(STREAMS, arg=1)
            assert [connected(tab, 1) for tab in tabs] == known
            server.kill()
            for tab in tabs:
                tab.wait_for_function("client.state === 'reconnecting'")
    for tab, count in zip(tabs, told, strict=True):
        assert not events(tab, "leave", "error")
        assert {it["state"] for it in events(tab, "peer")[count:]} == {"connected"}


@pytest.mark.parametrize("browsers", PAIRS)
def test_who_leaves_is_gone(join: Join, browsers: tuple[str, str]) -> None:
    """A member that closes, or whose tab is closed, is gone for the other, and can come again."""
    staying, leaving = (join(browser, f"leaving {browsers}") for browser in browsers)
    connected(staying, 1)
    understands(leaving)
    leaving.evaluate("client.close()")
    staying.wait_for_function("client.members.size === 0")
    leaving.evaluate("room => client.joinRoom(room)", f"leaving {browsers}")
    connected(staying, 1)
    understands(leaving)
    leaving.close()
    staying.wait_for_function("client.members.size === 0")


@pytest.mark.parametrize("browsers", PAIRS)
def test_who_leaves_without_a_server_is_gone(
    join: Join, browsers: tuple[str, str], complaints: list[str]
) -> None:
    """A member that closes while the server is away is gone at once: its connection has ended."""
    complaints += [NO_SERVER, NO_SERVER_FIREFOX]
    with server_process("-demo", exit_code=-9) as server:
        staying, leaving = (join(browser, "leaving", url_of(server)) for browser in browsers)
        for tab in (staying, leaving):
            connected(tab, 1)
            understands(tab)
        server.kill()
        staying.wait_for_function("client.state === 'reconnecting'")
        leaving.evaluate("client.close()")
        staying.wait_for_function("client.members.size === 0")
