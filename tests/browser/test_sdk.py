"""The SDK in real browsers keeps the promises of docs/sdk.md and sdk/signaling.d.ts."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import FAKE_DEVICES, GRANT, REFUSE, Launch, OpenTab, url_of
from tests.browser.firefox import FirefoxTab
from tests.browser.proxy import Proxy
from tests.support.server_process import ServerProcess, server_process

PAGES = Path(__file__).parent / "pages"
ROOT = Path(__file__).parent.parent.parent
SDK = ROOT / "sdk"

# Chromium logs these for a connection that is refused or fails, and for the question why.
NO_SERVER = r"WebSocket connection to .* failed|Failed to load resource: net::ERR"

Join = Callable[..., Page]


@pytest.fixture
def join(open_tab: OpenTab, demo: str) -> Join:
    """Return a function that opens a tab whose client joins, with its events in `client.events`."""

    def join(room: str, url: str = demo, **options: Any) -> Page:
        page = sdk_page(open_tab, url, **options)
        page.evaluate("room => client.joinRoom(room)", room)
        return page

    return join


def sdk_page(open_tab: OpenTab, url: str, **options: Any) -> Page:
    page = open_tab(f"{url}page.html", html=(PAGES / "sdk.html").read_text(), **options)
    page.wait_for_function("window.ready")
    return page


def connected(page: Page | FirefoxTab, count: int) -> list[str]:
    """Wait until exactly this many members are there and connected; return their ids."""
    page.wait_for_function(
        "count => client.members.size === count"
        " && [...client.members.values()].every(({ state }) => state === 'connected')",
        arg=count,
    )
    ids: list[str] = page.evaluate("[...client.members.keys()]")
    return ids


def events(page: Page | FirefoxTab, *types: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(
        "types => client.events.filter(({ type }) => types.includes(type))"
        ".map(({ stream, error, ...rest }) => ({ ...rest, error: error && String(error) }))",
        types,
    )
    return found


def plays(page: Page, video: str) -> None:
    """Wait until a video element shows at least five more pictures than before."""
    page.wait_for_function(
        """selector => {
          const video = document.querySelector(selector);
          const frames = video?.getVideoPlaybackQuality().totalVideoFrames ?? 0;
          if (video) video.shownBefore ??= frames;
          return video && frames >= video.shownBefore + 5;
        }""",
        arg=video,
    )


# Pages


@pytest.fixture
def documented(demo: str) -> str:
    """Return docs/sdk.md's page, changed for the server of this test."""
    (html,) = re.findall(r"```html\n(.*?)```", (ROOT / "docs/sdk.md").read_text(), re.DOTALL)
    assert len(html.splitlines()) == 21
    endpoint = demo.replace("http", "ws")
    return f"{html.replace('ws://localhost:5000', endpoint)}<link rel='icon' href='data:,'>"


def test_the_page_of_the_documentation_works(open_tab: OpenTab, demo: str, documented: str) -> None:
    """The page of 21 lines in docs/sdk.md is a video call."""
    tabs = [open_tab(f"{demo}page.html", html=documented) for _ in range(2)]
    for tab in tabs:
        plays(tab, "video:not(#me)")
        plays(tab, "#me")
        expect(tab.locator("#hear")).to_be_hidden()
        assert tab.evaluate("[...document.querySelectorAll('video')].every((it) => it.playsInline)")
        assert tab.evaluate("me.muted && !document.querySelector('video:not(#me)').muted")
    tabs.pop().close()
    tabs[0].wait_for_function("document.querySelectorAll('video').length === 1")


def test_the_page_of_the_documentation_asks_for_a_click(
    open_tab: OpenTab, demo: str, documented: str
) -> None:
    """If the browser plays nothing with sound before a click, a button asks for one."""
    strict = """<script>
      const { play } = HTMLMediaElement.prototype;
      let clicked = false;
      window.addEventListener("click", () => (clicked = true), true);
      HTMLMediaElement.prototype.play = async function () {
        if (!this.muted && !clicked) {
          throw new DOMException("no click yet", "NotAllowedError");
        }
        return play.call(this);
      };
    </script>"""
    other = open_tab(f"{demo}page.html", html=documented)
    plays(other, "#me")
    page = open_tab(f"{demo}page.html", html=documented.replace("<video", strict + "<video", 1))
    expect(page.locator("#hear")).to_be_visible()
    plays(page, "#me")
    assert page.locator("video:not(#me)").evaluate("it => it.paused")
    page.locator("#hear").click()
    plays(page, "video:not(#me)")
    expect(page.locator("#hear")).to_be_hidden()


def test_a_page_for_singo_works(open_tab: OpenTab, demo: str) -> None:
    """A page written for singo's SDK works when its import is changed."""
    html = (PAGES / "singo.html").read_text()
    first, second = (open_tab(f"{demo}page.html", html=html) for _ in range(2))
    for tab in (first, second):
        plays(tab, "#partners video")
        plays(tab, "#my-screen")
        assert tab.evaluate("ownTracks") == 2
        assert tab.locator("#partners video").count() == 1
    second.locator("#mute").click()
    second.locator("#close").click()
    first.wait_for_function("document.querySelectorAll('#partners video').length === 0")
    assert second.evaluate("document.querySelector('#my-screen').srcObject") is None


@pytest.mark.parametrize("newcomer", ["sdk", "full"])
def test_members_that_do_not_trickle(
    join: Join, open_tab: OpenTab, demo: str, newcomer: str
) -> None:
    """A member that knows only full descriptions gets along with this SDK, whoever came first.

    It makes a new connection for each offer, and so also shows what is added later.
    """

    def full_sdp() -> Page:
        page = open_tab(f"{demo}page.html", html=(PAGES / "full_sdp.html").read_text())
        page.wait_for_function("window.ready")
        return page

    full = full_sdp() if newcomer == "sdk" else None
    page = join("mixed")
    full = full or full_sdp()
    connected(page, 1)
    full.wait_for_function("[...peers.values()].every(pc => pc.connectionState === 'connected')")
    # Every candidate that was found is in the description.
    assert "candidate:" in full.evaluate("[...peers.values()][0].remoteDescription.sdp")

    page.evaluate("client.shareScreen(picture())")
    full.wait_for_function(
        "[...peers.values()].every(pc => pc.connectionState === 'connected' && pc.getReceivers()"
        ".filter(({ track }) => track.kind === 'video' && !track.muted).length === 2)"
    )
    connected(page, 1)
    assert not events(page, "error", "leave")


def test_candidates_may_come_before_their_description(open_tab: OpenTab, demo: str) -> None:
    """A candidate that overtakes its offer is kept until the offer has come."""
    page = sdk_page(open_tab, demo)
    page.evaluate(
        """async () => {
          const pc = (window.pc = new RTCPeerConnection());
          pc.createDataChannel("first");
          const candidates = [];
          pc.onicecandidate = ({ candidate }) => candidate && candidates.push(candidate.toJSON());
          await pc.setLocalDescription();
          const { sdp } = pc.localDescription;
          const gathered = () => pc.iceGatheringState === "complete";
          while (!gathered()) await new Promise((resolve) => setTimeout(resolve, 10));

          const ws = new WebSocket(`ws://${location.host}/connect`);
          const send = (type, payload) => ws.send(JSON.stringify({ type, payload }));
          ws.onmessage = ({ data }) => {
            const { type, payload } = JSON.parse(data);
            if (type === "new-client") {
              for (const it of candidates) send("ice-candidate", { ...payload, ...it });
              send("offer", { ...payload, sdp });
            }
            if (type === "answer") pc.setRemoteDescription({ type, sdp: payload.sdp });
          };
          await new Promise((resolve) => (ws.onopen = resolve));
          send("join", { room_id: "early" });
          // The server has handled the join when it answers the message after it.
          send("unknown", null);
          await new Promise((resolve) => ws.addEventListener("message", ({ data }) =>
            data.includes("unknown message type") && resolve()));
          await client.joinRoom("early");
        }"""
    )
    page.wait_for_function("pc.connectionState === 'connected'")
    assert not events(page, "error")


# Negotiation


def test_members_hear_and_see_each_other(join: Join) -> None:
    """Three members see and hear each other, and each stream is told of once."""
    tabs = [join("three") for _ in range(3)]
    for tab in tabs:
        ids = connected(tab, 2)
        for client_id in ids:
            tab.wait_for_function(
                # It loops itself, since a promise counts as an answer, whatever its value. It also
                # plays, since Chromium decodes no sound that is not heard.
                """async id => {
                  const video = document.createElement("video");
                  video.srcObject = client.members.get(id).streams[0];
                  await video.play();
                  for (;;) {
                    const stats = [...(await client.peerConnection(id).getStats()).values()]
                      .filter(({ type }) => type === "inbound-rtp");
                    if (stats.some(({ framesDecoded }) => framesDecoded > 5)
                      && stats.some(({ totalAudioEnergy }) => totalAudioEnergy > 0)) return true;
                    await new Promise((later) => setTimeout(later, 100));
                  }
                }""",
                arg=client_id,
            )
        assert sorted(it["clientId"] for it in events(tab, "track")) == sorted(ids)
        assert not events(tab, "error", "leave", "trackend")


def test_offers_that_cross(join: Join) -> None:
    """If both members share their screens at the same moment, each sees the other's."""
    tabs = [join("glare") for _ in range(2)]
    for tab in tabs:
        connected(tab, 1)
    at = tabs[0].evaluate("Date.now()") + 300
    for tab in tabs:
        tab.evaluate(
            "at => void setTimeout(() => client.shareScreen(picture()), at - Date.now())", at
        )
    for tab in tabs:
        tab.wait_for_function(
            "[...client.members.values()].every(({ streams, info }) =>"
            " streams.some(({ id }) => id === info?.screen))"
        )
        assert not events(tab, "error", "leave")


def test_a_screen_comes_and_goes(join: Join) -> None:
    """A shared screen is a second stream, for later members too; all learn of its end."""
    sharing, watching = join("screen"), join("screen")
    connected(sharing, 1)
    sharing.evaluate("client.shareScreen(picture())")
    watching.wait_for_function("[...client.members.values()][0].streams.length === 2")
    late = join("screen")
    late.wait_for_function(
        "[...client.members.values()].some(({ streams, info }) =>"
        " streams.length === 2 && streams.some(({ id }) => id === info?.screen))"
    )
    sharing.evaluate("client.screen.getTracks()[0].dispatchEvent(new Event('ended'))")
    for tab in (watching, late):
        tab.wait_for_function("client.events.some(({ type }) => type === 'trackend')")
        tab.wait_for_function(
            "[...client.members.values()].every(({ streams, info }) =>"
            " streams.length === 1 && info?.screen === null)"
        )
    assert events(sharing, "screenend")
    # Whether the same stream comes back or another one, the page is told of it again.
    sharing.evaluate("client.shareScreen(picture())")
    watching.wait_for_function(
        "client.members.get(client.events.find(({ type }) => type === 'trackend').clientId)"
        ".streams.length === 2"
    )


def test_a_failed_connection_is_tried_again(join: Join) -> None:
    """ICE is restarted: both sides get new credentials on the connection that they have.

    A browser takes half a minute and a broken network to find that a connection has failed, so the
    test tells it.
    """
    first, second = join("restart"), join("restart")
    (client_id,) = connected(first, 1)
    connected(second, 1)
    before = first.evaluate(
        "client.peerConnection([...client.members.keys()][0]).localDescription.sdp"
    )
    first.evaluate(
        """id => {
          const pc = client.peerConnection(id);
          Object.defineProperty(pc, "connectionState", { value: "failed", configurable: true });
          pc.dispatchEvent(new Event("connectionstatechange"));
          delete pc.connectionState;
        }""",
        client_id,
    )
    assert events(first, "peer")[-1]["state"] == "failed"
    ufrag = re.findall(r"a=ice-ufrag:(\S+)", before)[0]
    first.wait_for_function(
        """([id, ufrag]) => {
          const pc = client.peerConnection(id);
          return pc.signalingState === "stable" && !pc.localDescription.sdp.includes(ufrag);
        }""",
        arg=[client_id, ufrag],
    )
    assert not events(second, "error", "leave", "trackend")


def test_sharing_again_and_again_costs_nothing(join: Join) -> None:
    """A screen that comes back takes the place of the one that went: descriptions do not grow."""
    first, second = join("again"), join("again")
    (client_id,) = connected(first, 1)
    connected(second, 1)
    lines = "id => client.peerConnection(id).localDescription.sdp.match(/^m=/gm).length"
    for _ in range(4):
        first.evaluate("client.shareScreen(picture())")
        second.wait_for_function("[...client.members.values()][0].streams.length === 2")
        most = first.evaluate(lines, client_id)
        first.evaluate("client.stopScreen()")
        second.wait_for_function("[...client.members.values()][0].streams.length === 1")
    assert most == 4  # Microphone, camera, data channel, screen.


# The data channel


def test_messages_reach_one_or_all(join: Join) -> None:
    """`send` returns how many members it reached; the data arrive as they were sent, in order."""
    first, second, third = (join("chat") for _ in range(3))
    for tab in (first, second, third):
        connected(tab, 2)
    everyone_understands = "() => client.send(null) === 2"
    first.wait_for_function(everyone_understands)
    assert first.evaluate("[client.send('to all'), client.send({ n: [1, null] })]") == [2, 2]
    other = second.evaluate("client.clientId")
    assert first.evaluate("id => client.send('to you', id)", other) == 1
    assert first.evaluate("client.send('nobody', 'somebody else')") == 0
    second.wait_for_function("client.events.some(({ data }) => data === 'to you')")
    told = [it["data"] for it in events(second, "message") if it["data"] is not None]
    assert told == ["to all", {"n": [1, None]}, "to you"]
    third.wait_for_function("client.events.some(({ data }) => data?.n)")
    assert "to you" not in [it["data"] for it in events(third, "message")]
    with pytest.raises(Exception, match="64 KiB"):
        first.evaluate("client.send('x'.repeat(70_000))")


def test_members_say_what_they_are(join: Join) -> None:
    """A member's name, microphone and camera are told to members who are there and to newcomers."""
    first, second = join("info"), join("info")
    connected(second, 1)
    first.evaluate("client.setName('Ann'); client.changeAudioTrackEnabled(false)")
    first.evaluate("client.changeVideoTrackEnabled(false)")
    late = join("info")
    for tab in (second, late):
        tab.wait_for_function(
            "[...client.members.values()].some(({ info }) =>"
            " info?.name === 'Ann' && info.audio === false && info.video === false)"
        )


def test_members_may_say_what_they_like(join: Join, open_tab: OpenTab, demo: str) -> None:
    """Nonsense on the data channel, and a claim to another's id, do no harm to the others.

    A member that claims another id is dropped like any other when it goes.
    """
    victim, hostile = join("hostile"), join("hostile")
    connected(victim, 1)
    hostile.wait_for_function("client.send(null) === 1")
    hostile.evaluate(
        """() => {
          const { createDataChannel } = RTCPeerConnection.prototype;
          RTCPeerConnection.prototype.createDataChannel = function (...args) {
            return (window.channel = createDataChannel.apply(this, args));
          };
          client.close();
          return client.joinRoom("hostile");
        }"""
    )
    connected(victim, 1)
    hostile.wait_for_function("client.send(null) === 1")
    newcomer = sdk_page(open_tab, demo)
    newcomer.evaluate("room => client.joinRoom(room)", "elsewhere")
    hostile.evaluate(
        """claimed => {
          const odd = [null, 1, "x", [], { toString: 1, valueOf: 1 }];
          const types = ["answer", "ping", "id", "info", "data", "", ...odd];
          for (const type of types) {
            for (const it of odd) {
              channel.send(JSON.stringify({ type, asked: it, id: it, name: it, audio: it }));
            }
          }
          for (const text of ["", "{", "null", "[]", '"x"']) channel.send(text);
          channel.send(JSON.stringify({ type: "id", id: claimed, asked: "1" }));
        }""",
        newcomer.evaluate("client.clientId"),
    )
    # The owner of the claimed id is met all the same.
    newcomer.evaluate("client.joinRoom('hostile')")
    connected(victim, 2)
    connected(newcomer, 2)
    hostile.close()
    connected(victim, 1)
    assert not events(victim, "error")


# The server


def test_the_room_forms_again_after_a_restart(
    open_tab: OpenTab, join: Join, complaints: list[str]
) -> None:
    """When the server is killed and comes back, all join again, and no picture is interrupted."""
    complaints.append(NO_SERVER)
    with server_process("-demo", exit_code=-9) as server:
        url, port = url_of(server), str(server.port)
        tabs = [join("restarted", url=url) for _ in range(3)]
        members = [connected(tab, 2) for tab in tabs]
        server.kill()
        for tab in tabs:
            tab.wait_for_function("client.state === 'reconnecting'")
    with server_process("-demo", "-port", port):
        for tab, ids in zip(tabs, members, strict=True):
            tab.wait_for_function("client.state === 'joined'")
            assert connected(tab, 2) == ids
            assert not events(tab, "leave", "trackend")
            # Attempts to reconnect may have failed meanwhile.
            assert {it["source"] for it in events(tab, "error")} <= {"connection"}
        # Each can negotiate again with every other, and with a member that comes later.
        for tab in tabs:
            tab.evaluate("client.shareScreen(picture())")
        late = join("restarted", url=url)
        for tab in (*tabs, late):
            connected(tab, 3)
            tab.wait_for_function(
                "[...client.members.values()].every(({ streams, info }) =>"
                " !info?.screen || streams.some(({ id }) => id === info.screen))"
                " && [...client.members.values()].filter(({ info }) => info?.screen).length >= 2"
            )


def test_a_server_that_goes_silent(join: Join, complaints: list[str]) -> None:
    """A connection on which nothing comes any more counts as lost, although nobody closed it."""
    complaints.append(NO_SERVER)
    with server_process("-demo", env={"SIGNALING_KEEPALIVE_INTERVAL": "0.5"}) as server:
        page = join("silent", url=url_of(server))
        # The client must first see how often the server sends.
        page.evaluate(
            """() => new Promise((resolve) => {
              const ws = new WebSocket(`ws://${location.host}/connect`);
              ws.onmessage = ({ data }) => data.includes('"ping"') && resolve(ws.close());
            })"""
        )
        server.send_signal(signal.SIGSTOP)
        page.wait_for_function("client.state === 'reconnecting'")
        server.send_signal(signal.SIGCONT)
        page.wait_for_function("client.state === 'joined'")


@pytest.fixture
def proxy(server: ServerProcess) -> Iterator[Proxy]:
    """Yield a proxy to the server whose connections can be cut."""
    with Proxy(server.port) as proxy:
        yield proxy


def test_a_member_that_loses_the_server_is_kept(
    join: Join, proxy: Proxy, complaints: list[str]
) -> None:
    """If one connection to the server is cut, the media go on, and nobody is told of a departure.

    The server then knows the member by another id; the page keeps the id that it knows.
    """
    complaints.append(NO_SERVER)
    cut, other = join("cut", url=f"http://localhost:{proxy.port}/"), join("cut")
    (known,) = connected(other, 1)
    connected(cut, 1)
    cut.wait_for_function("client.send(null) === 1")
    proxy.cut()
    cut.wait_for_function("client.events.filter(({ state }) => state === 'joined').length === 2")
    assert cut.evaluate("client.clientId") != known
    assert connected(other, 1) == [known]
    cut.evaluate("client.shareScreen(picture())")
    other.wait_for_function("[...client.members.values()][0].streams.length === 2")
    other.evaluate("client.shareScreen(picture())")
    cut.wait_for_function("[...client.members.values()][0].streams.length === 2")
    for tab in (cut, other):
        assert not events(tab, "leave", "trackend", "error")
    # A member that comes later meets each of them once.
    connected(join("cut"), 2)
    assert connected(other, 2)[0] == known


def test_a_member_that_comes_back_slowly_is_met_once(join: Join, complaints: list[str]) -> None:
    """If its first offer comes too late to prove who it is, it is met anew, and only once."""
    complaints.append(NO_SERVER)
    with server_process("-demo", exit_code=-9) as server:
        url, port = url_of(server), str(server.port)
        slow, other = join("slow", url=url), join("slow", url=url)
        for tab in (slow, other):
            connected(tab, 1)
            tab.wait_for_function("client.send(null) === 1")
        slow.evaluate(
            """() => {
              const { send } = WebSocket.prototype;
              WebSocket.prototype.send = function (data) {
                const wait = JSON.parse(data).type === "offer" ? 3000 : 0;
                if (wait) setTimeout(() => send.call(this, data), wait);
                else send.call(this, data);
              };
            }"""
        )
        server.kill()
        for tab in (slow, other):
            tab.wait_for_function("client.state === 'reconnecting'")
    with server_process("-demo", "-port", port):
        for tab in (other, slow):
            tab.evaluate("void dispatchEvent(new Event('online'))")
            tab.wait_for_function("client.state === 'joined'")
        other.wait_for_function("client.events.filter(({ type }) => type === 'join').length === 2")
        for tab in (other, slow):
            connected(tab, 1)
            tab.wait_for_function("client.send(null) === 1")


def test_a_member_that_stays_away_after_a_restart_is_gone(
    join: Join, complaints: list[str]
) -> None:
    """The new server never saw the member, so only its connection's end tells that it is gone."""
    complaints.append(NO_SERVER)
    with server_process("-demo", exit_code=-9) as server:
        url, port = url_of(server), str(server.port)
        away, other = join("away", url=url), join("away", url=url)
        (client_id,) = connected(other, 1)
        connected(away, 1)
        other.wait_for_function("client.send(null) === 1")
        away.evaluate("() => { window.WebSocket = class { close() {} }; }")
        server.kill()
        other.wait_for_function("client.state === 'reconnecting'")
    with server_process("-demo", "-port", port):
        other.wait_for_function("client.state === 'joined'")
        # The member lives on: only the server has lost it.
        assert connected(other, 1) == [client_id]
        # Browsers find this half a minute after a tab has crashed.
        other.evaluate(
            """id => {
              const pc = client.peerConnection(id);
              Object.defineProperty(pc, "connectionState", { value: "failed" });
              pc.dispatchEvent(new Event("connectionstatechange"));
            }""",
            client_id,
        )
        assert other.evaluate("client.members.size") == 0


def test_a_member_that_does_not_come_back_is_gone(
    join: Join, proxy: Proxy, complaints: list[str]
) -> None:
    """A member that has lost the server for good and closes is gone: its connection's end tells."""
    complaints.append(NO_SERVER)
    lost, other = join("lost", url=f"http://localhost:{proxy.port}/"), join("lost")
    connected(other, 1)
    lost.wait_for_function("client.send(null) === 1")
    proxy.down()
    lost.wait_for_function("client.state === 'reconnecting'")
    lost.evaluate("client.close()")
    other.wait_for_function("client.members.size === 0")


def test_no_server(open_tab: OpenTab, demo: str, complaints: list[str]) -> None:
    """`joinRoom` rejects; camera and microphone stay open for another try."""
    complaints.append(NO_SERVER)
    page = sdk_page(open_tab, demo)
    page.evaluate("window.client = newClient({ signalingServerEndpoint: 'ws://localhost:9' })")
    with pytest.raises(Exception, match="ws://localhost:9/connect cannot be reached"):
        page.evaluate("client.joinRoom('room')")
    assert page.evaluate("[client.state, client.stream.active]") == ["new", True]


OUTCOME = "room => client.joinRoom(room).then(() => 'joined', error => String(error))"


def test_a_room_that_the_server_refuses(open_tab: OpenTab, demo: str) -> None:
    """`joinRoom` rejects with the server's words; the client is in no room and may try again.

    This also holds for a change of rooms: the client has left the room before.
    """
    page = sdk_page(open_tab, demo)
    for before in (None, "short"):
        if before:
            assert page.evaluate(OUTCOME, before) == "joined"
        assert page.evaluate(OUTCOME, "x" * 256) == "Error: invalid payload"
        assert page.evaluate("[client.state, client.stream.active]") == ["new", True]
    states = [it["state"] for it in events(page, "state")]
    assert states == ["connecting", "new", "connecting", "joined", "new"]
    assert not events(page, "error")
    page.evaluate("client.joinRoom('short')")
    other = sdk_page(open_tab, demo)
    other.evaluate("client.joinRoom('short')")
    connected(page, 1)


def test_each_of_many_joins_has_its_own_outcome(open_tab: OpenTab, demo: str) -> None:
    """The last join counts, whatever became of those before; they end as soon as it has begun."""
    page = sdk_page(open_tab, demo)
    outcomes = """async rooms => {
      const all = rooms.map(room => client.joinRoom(room));
      return (await Promise.allSettled(all)).map(({ reason }) => reason?.name ?? "joined");
    }"""
    long = "x" * 256
    assert page.evaluate(outcomes, [long, "a"]) == ["AbortError", "joined"]
    assert page.evaluate(outcomes, [long, long, "b", "b"]) == ["AbortError"] * 2 + ["joined"] * 2
    assert page.evaluate(outcomes, ["c", long]) == ["AbortError", "Error"]
    assert page.evaluate("client.state") == "new"


def test_a_refusal_after_reconnecting(join: Join, complaints: list[str]) -> None:
    """The server's words are told as an error each time, and the client goes on trying."""
    complaints.append(NO_SERVER)
    with server_process("-demo") as server:
        url, port = url_of(server), str(server.port)
        page = join("a-long-name", url=url)
    short = {"SIGNALING_MAX_ROOM_NAME": "5"}
    with server_process("-demo", "-port", port, env=short):
        page.wait_for_function("client.events.some(({ source }) => source === 'server')")
        assert page.evaluate("client.state") == "reconnecting"
        refused = [it["error"] for it in events(page, "error") if it["source"] == "server"]
        assert refused[0] == "Error: invalid payload"
    with server_process("-demo", "-port", port):
        page.wait_for_function("client.state === 'joined'", timeout=30_000)


# A server that does what the page tells it: `answer(ws, type, payload)`.
FAKE_SERVER = """() => {
  window.sent = [];
  window.WebSocket = class FakeWebSocket {
    static OPEN = 1;
    readyState = 1;
    constructor() { setTimeout(() => this.tell("notify-client-id", { client_id: "me" })); }
    tell(type, payload) { this.onmessage?.({ data: JSON.stringify({ type, payload }) }); }
    send(text) {
      const { type, payload } = JSON.parse(text);
      sent.push(type);
      setTimeout(() => window.answer(this, type, payload));
    }
    close() { this.readyState = 3; }
  };
}"""


def test_a_server_that_answers_no_join(open_tab: OpenTab, demo: str) -> None:
    """After seven seconds the client counts as joined."""
    page = sdk_page(open_tab, demo)
    page.evaluate(FAKE_SERVER)
    page.evaluate("window.answer = () => {}")
    took = page.evaluate(
        "async () => { const t = Date.now(); await client.joinRoom('x'); return Date.now() - t; }"
    )
    assert 7000 <= took < 9000
    assert page.evaluate("client.state") == "joined"


# Until `open()`, nobody is let into the room "full", and no join is answered but by the refusal.
FULL = """() => {
  let full = true;
  window.open = () => (full = false);
  window.joins = [];
  window.answer = (ws, type, payload) => {
    if (type === "join") joins.push(payload.room_id);
    if (full && joins.at(-1) === "full") {
      const error = type === "join" ? "failed to join room" : "failed to transfer answer";
      ws.tell("error", { error });
    } else if (type === "answer") {
      ws.tell("answer", payload);
    }
  };
}"""


@pytest.fixture
def full(open_tab: OpenTab, demo: str) -> Page:
    """Open a tab whose server has a full room, and whose timers take a tenth of their time."""
    page = sdk_page(open_tab, demo)
    page.evaluate(FAKE_SERVER)
    page.evaluate(FULL)
    page.evaluate(
        """() => {
          window.waits = [];
          const { setTimeout } = window;
          window.setTimeout = (call, wait = 0, ...rest) => {
            if (call.name === "#reconnectNow") waits.push(wait);
            return setTimeout(call, wait / 10, ...rest);
          };
        }"""
    )
    return page


@pytest.mark.parametrize("before", [None, "first"])
def test_a_full_room_is_joined_when_there_is_a_place(full: Page, before: str | None) -> None:
    """`joinRoom` waits until the server lets the client in; each refusal is told as an error."""
    if before:
        assert full.evaluate(OUTCOME, before) == "joined"
    full.evaluate(f"() => {{ window.outcome = ({OUTCOME})('full'); }}")
    full.wait_for_function("joins.filter((room) => room === 'full').length === 3")
    assert full.evaluate("client.state") == "reconnecting"
    assert {it["error"] for it in events(full, "error")} == {"Error: failed to join room"}
    assert {it["source"] for it in events(full, "error")} == {"server"}
    full.evaluate("open()")
    assert full.evaluate("outcome") == "joined"
    states = [it["state"] for it in events(full, "state")]
    assert states == ["connecting", *(["joined"] if before else []), "reconnecting", "joined"]
    assert len(events(full, "error")) == full.evaluate("waits.length") >= 3
    for number, wait in enumerate(full.evaluate("waits")):
        assert 500 * 2**number <= wait <= 1000 * 2**number


@pytest.mark.parametrize(("leave", "state"), [("close()", "closed"), ("joinRoom('b')", "joined")])
def test_whoever_goes_elsewhere_does_not_wait_for_a_full_room(
    full: Page, leave: str, state: str
) -> None:
    """`close`, or another room, ends the attempts; the other room is joined at once."""
    full.evaluate(f"() => {{ window.outcome = ({OUTCOME})('full'); }}")
    full.wait_for_function("waits.length === 5")
    start = time.monotonic()
    full.evaluate(f"client.{leave}")
    assert time.monotonic() - start < 0.5  # The next attempt would come after 0.8 s to 1.6 s.
    assert full.evaluate("outcome").startswith("AbortError")
    assert full.evaluate("client.state") == state
    joins = full.evaluate("joins")
    assert joins == ["full"] * 5 + (["b"] if state == "joined" else [])
    full.wait_for_timeout(2000)
    assert full.evaluate("joins") == joins


def test_a_refusal_that_comes_late(full: Page) -> None:
    """A client that counts as joined by then is not, and tries again."""
    full.evaluate(
        """() => {
          const { answer } = window;
          window.answer = (ws) => (window.late = () => ws.tell("error", NOT_NOW));
          window.NOT_NOW = { error: "failed to join room" };
          window.recover = () => (window.answer = answer);
        }"""
    )
    assert full.evaluate(OUTCOME, "room") == "joined"
    full.evaluate("recover(), late()")
    assert full.evaluate("client.state") == "reconnecting"
    assert events(full, "error")[0]["error"] == "Error: failed to join room"
    full.wait_for_function("client.state === 'joined'")


def test_an_offer_is_answered_whether_or_not_the_join_is(open_tab: OpenTab, demo: str) -> None:
    """An offer shows that the client is in the room: it is answered without further waiting.

    The page is told of the member after it has been told of the join.
    """
    page = sdk_page(open_tab, demo)
    page.evaluate(FAKE_SERVER)
    took = page.evaluate(
        """async () => {
          await client.openMedia();
          const pc = new RTCPeerConnection();
          pc.createDataChannel("first");
          await pc.setLocalDescription();
          const { sdp } = pc.localDescription;
          window.answer = (ws, type) =>
            type === "join" && ws.tell("offer", { client_id: "other", sdp });
          const start = Date.now();
          await client.joinRoom("x");
          if (client.events.some(({ type }) => type === "join")) return "told too early";
          while (sent.filter((type) => type === "answer").length < 2) {
            await new Promise((resolve) => setTimeout(resolve, 10));
          }
          return Date.now() - start;
        }"""
    )
    # A first description waits a second for its candidates.
    assert took < 3000
    assert [it["clientId"] for it in events(page, "join")] == ["other"]


def test_nobody_else_sees_how_the_client_joins(join: Join) -> None:
    """The message that follows a join comes back to its sender alone, and is no member's."""
    other = join("alone")
    page = join("alone")
    connected(other, 1)
    page.evaluate("client.joinRoom('elsewhere')")
    other.wait_for_function("client.members.size === 0")
    page.evaluate("client.joinRoom('alone')")
    connected(other, 1)
    connected(page, 1)
    for tab in (page, other):
        assert not events(tab, "error")
    own = page.evaluate("client.clientId")
    assert own not in {it["clientId"] for it in events(page, "join", "peer")}


@pytest.mark.parametrize(
    ("prepare", "options", "error"),
    [
        ("", "{ rtcConfiguration: { iceServers: [{ urls: 'nonsense' }] } }", "SyntaxError"),
        ("", "{ rtcConfiguration: { iceServers: [{ urls: 'turn:a.example' }] } }", "username"),
        ("delete window.RTCPeerConnection", "{}", "RTCPeerConnection"),
    ],
)
def test_what_the_browser_has_against_every_connection(
    open_tab: OpenTab, demo: str, prepare: str, options: str, error: str
) -> None:
    """`joinRoom` rejects with the browser's error before the user is asked, and changes nothing."""
    page = sdk_page(open_tab, demo)
    page.evaluate(f"() => {{ {prepare} }}")
    page.evaluate(f"window.client = newClient({options})")
    assert error in page.evaluate(OUTCOME, "room")
    assert page.evaluate("[client.state, client.stream]") == ["new", None]
    assert not events(page, "state")


def test_a_question_that_nobody_answers(open_tab: OpenTab, demo: str, join: Join) -> None:
    """Joining waits for the user for some seconds only; devices allowed later are added."""
    other = join("asked")
    page = sdk_page(open_tab, demo)
    page.evaluate(
        """() => {
          const { mediaDevices } = navigator;
          const ask = mediaDevices.getUserMedia.bind(mediaDevices);
          mediaDevices.getUserMedia = (wish) => new Promise((resolve, reject) => {
            window.answer = () => ask(wish).then(resolve, reject);
          });
          window.client = newClient();
        }"""
    )
    page.evaluate("client.joinRoom('asked')")
    assert page.evaluate("[client.state, client.stream]") == ["joined", None]
    connected(page, 1)
    page.evaluate("answer()")
    other.wait_for_function(
        "[...client.members.values()].some(({ info }) => info?.audio && info.video)"
    )
    assert page.evaluate("client.stream.getTracks().length") == 2


def test_a_connection_that_cannot_be_made_is_told(join: Join) -> None:
    """If the browser makes no more connections, that is an error of the member."""
    page = join("no more")
    page.evaluate(
        "() => { window.RTCPeerConnection = function () { throw new Error('no more'); }; }"
    )
    join("no more")
    page.wait_for_function("client.events.some(({ type }) => type === 'error')")
    assert events(page, "error")[0]["source"] == "peer"


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("ws://a.example:5000", "ws://a.example:5000/connect"),
        ("wss://a.example/", "wss://a.example/connect"),
        ("https://a.example/rooms/", "wss://a.example/rooms/connect"),
        (None, "ws://localhost:{port}/folder/connect"),
    ],
)
def test_the_endpoint(
    open_tab: OpenTab, demo: str, server: ServerProcess, endpoint: str | None, url: str
) -> None:
    """The client connects to `/connect` below the endpoint or, without one, the page's folder."""
    html = (PAGES / "sdk.html").read_text()
    page = open_tab(f"{demo}folder/page.html?query#fragment", html=html)
    page.wait_for_function("window.ready")
    asked = page.evaluate(
        """endpoint => {
          window.WebSocket = function (url) { window.asked = url; };
          newClient({ signalingServerEndpoint: endpoint ?? undefined,
                      mediaStreamConstrains: {} }).joinRoom("room");
          return new Promise((resolve) => setTimeout(() => resolve(window.asked)));
        }""",
        endpoint,
    )
    assert asked == url.format(port=server.port)


# Camera and microphone


@pytest.fixture
def refusing(launch: Launch) -> Browser:
    """Launch a browser whose user refuses the devices that a test has not granted."""
    return launch(FAKE_DEVICES, REFUSE)


@pytest.mark.parametrize(
    ("granted", "kinds"),
    [
        (("camera", "microphone"), ["audio", "video"]),
        (("microphone",), ["audio"]),
        (("camera",), ["video"]),
        ((), []),
    ],
)
def test_joins_with_what_it_may_use(
    join: Join, refusing: Browser, granted: tuple[str, ...], kinds: list[str]
) -> None:
    """With both devices, one or none, the client joins, says what it lacks, and receives media."""
    other = join(f"granted {granted}")
    page = join(f"granted {granted}", browser=refusing, permissions=granted)
    assert page.evaluate("client.stream.getTracks().map(({ kind }) => kind).sort()") == kinds
    assert [it["source"] for it in events(page, "error")] == ["media"] * (len(kinds) < 2)
    connected(page, 1)
    page.wait_for_function("[...client.members.values()][0].streams[0]?.getTracks().length === 2")
    other.wait_for_function(
        "count => ([...client.members.values()][0].streams[0]?.getTracks().length ?? 0) === count",
        arg=len(kinds),
    )
    # Two members that have nothing to send still have a data channel.
    third = join(f"granted {granted}", browser=refusing, permissions=granted)
    third.wait_for_function("client.send('hello') === 2")


def test_no_devices(join: Join, launch: Launch) -> None:
    """A user without camera and microphone joins too."""
    page = join("bare", browser=launch(GRANT))
    assert page.evaluate("[client.state, client.stream.getTracks().length]") == ["joined", 0]
    assert "NotFoundError" in events(page, "error")[0]["error"]


def test_a_stream_of_the_page(join: Join) -> None:
    """A stream that the page assigns is sent instead of the camera, and only the page stops it."""
    first = join("assigned")
    second = join("assigned")
    connected(first, 1)
    first.evaluate("window.own = picture(); client.stream = own")
    second.wait_for_function(
        "[...client.members.values()][0].streams.some(s => s.getTracks().length === 1)"
    )
    first.evaluate("client.close()")
    assert first.evaluate("own.active")


# The ways in which a page changes the tracks that it sends; all are on when they begin.
WATCH_SENDING = """() => {
  window.sentWhileOn = [];
  const watch = (prototype, name) => {
    const original = prototype[name];
    prototype[name] = function (track, ...rest) {
      if (track?.enabled) sentWhileOn.push(track.kind);
      return original.call(this, track, ...rest);
    };
  };
  watch(RTCPeerConnection.prototype, "addTrack");
  watch(RTCRtpSender.prototype, "replaceTrack");
}"""
OPEN = "navigator.mediaDevices.getUserMedia({ audio: true, video: true })"
# Each of these exchanges or renews what is sent.
EXCHANGES = {
    "a stream of the page": f"async () => {{ client.stream = await {OPEN}; }}",
    "devices opened anew": "() => { client.stream = null; return client.openMedia(); }",
    "none, then devices": """async () => {
      client.stream = new MediaStream();
      await new Promise((resolve) => setTimeout(resolve, 300));
      client.stream = null;
      await client.openMedia();
    }""",
    "tracks in the same stream": f"""async () => {{
      const other = await {OPEN};
      for (const track of client.stream.getTracks()) client.stream.removeTrack(track);
      for (const track of other.getTracks()) client.stream.addTrack(track);
      client.stream = client.stream;
    }}""",
    "tracks in the same stream, and a screen": f"""async () => {{
      const other = await {OPEN};
      for (const track of client.stream.getTracks()) client.stream.removeTrack(track);
      for (const track of other.getTracks()) client.stream.addTrack(track);
      await client.shareScreen(new MediaStream());
      client.stopScreen();
    }}""",
    "another room": "() => client.joinRoom('elsewhere').then(() => client.joinRoom('kept'))",
    "the end and a new beginning": "() => { client.close(); return client.joinRoom('kept'); }",
    "a new connection": "() => client.createNewPeer([...client.members.keys()][0])"
    ".then(() => client.createOffer([...client.members.keys()][0]))"
    ".then(() => client.sendOffer([...client.members.keys()][0]))",
}
TOLD = "([audio, video]) => [...client.members.values()].some(({ state, info }) =>" + (
    " state === 'connected' && info?.name === 'Ann' && info.audio === audio"
    " && info.video === video)"
)


@pytest.mark.parametrize("exchange", EXCHANGES.values(), ids=EXCHANGES)
def test_what_was_asked_is_kept(join: Join, open_tab: OpenTab, demo: str, exchange: str) -> None:
    """A client that was muted before it had a microphone never sends one that is on.

    The members are told so, and also when the page turns the microphone on again.
    """
    other, page = join("kept"), sdk_page(open_tab, demo)
    page.evaluate(WATCH_SENDING)
    page.evaluate(
        "client.changeAudioTrackEnabled(false), client.changeVideoTrackEnabled(false),"
        " client.setName('Ann')"
    )
    page.evaluate("client.joinRoom('kept')")
    other.wait_for_function(TOLD, arg=[False, False])
    page.evaluate(exchange)
    connected(page, 1)
    other.wait_for_function(TOLD, arg=[False, False])
    assert page.evaluate("client.stream.getTracks().map(({ enabled }) => enabled)") == [False] * 2
    assert page.evaluate("sentWhileOn") == []
    page.evaluate("client.changeVideoTrackEnabled(true)")
    other.wait_for_function(TOLD, arg=[False, True])
    page.evaluate("client.changeAudioTrackEnabled(true)")
    other.wait_for_function(TOLD, arg=[True, True])


def test_what_is_asked_while_the_server_is_lost(
    join: Join, proxy: Proxy, complaints: list[str]
) -> None:
    """It is done and told to connected members at once, and holds when the room forms again."""
    complaints.append(NO_SERVER)
    page, other = join("lost", url=f"http://localhost:{proxy.port}/"), join("lost")
    connected(page, 1)
    page.wait_for_function("client.send(null) === 1")
    page.evaluate(WATCH_SENDING)
    proxy.cut()
    page.wait_for_function("client.state === 'reconnecting'")
    page.evaluate("client.changeAudioTrackEnabled(false), client.setName('Ann')")
    page.evaluate(f"{OPEN}.then((stream) => {{ client.stream = stream; }})")
    other.wait_for_function(TOLD, arg=[False, True])
    page.wait_for_function("client.state === 'joined'")
    late = join("lost")
    late.wait_for_function(TOLD, arg=[False, True])
    assert "audio" not in page.evaluate("sentWhileOn")


def test_nothing_is_sent_of_who_is_muted(join: Join) -> None:
    """Another microphone, on when it is assigned, is silent to the encoder from its start."""
    page = join("silent")
    page.evaluate("client.changeAudioTrackEnabled(false)")
    other = join("silent")
    connected(page, 1)
    # Everything that the microphone's sender has sent.
    sent = """async () => {
      const pc = client.peerConnection([...client.members.keys()][0]);
      const [track] = client.stream.getAudioTracks();
      const source = [...(await pc.getStats()).values()].find(({ type, trackIdentifier }) =>
        type === "media-source" && trackIdentifier === track.id);
      return source ? [source.totalSamplesDuration, source.totalAudioEnergy] : [0, 0];
    }"""
    until = f"""async (condition) => {{
      while (!condition(await ({sent})())) await new Promise((go) => setTimeout(go, 50));
    }}"""
    page.evaluate(f"({until})(([time]) => time > 0)")
    page.evaluate(f"{OPEN}.then((stream) => {{ client.stream = stream; }})")
    page.evaluate("client.shareScreen(picture())")
    other.wait_for_function("[...client.members.values()][0].streams.length === 2")
    # The fake microphone beeps every second.
    before = page.evaluate(sent)[0]
    page.evaluate(f"({until})(([time]) => time > {before} + 2)")
    assert page.evaluate(sent)[1] == 0
    page.evaluate("client.changeAudioTrackEnabled(true)")
    page.evaluate(f"({until})(([, energy]) => energy > 0)")


def test_only_the_last_of_many_streams_is_sent(join: Join) -> None:
    """Whatever is exchanged in one moment, also while negotiating, no replaced stream is sent."""
    page, other = join("many"), join("many")
    connected(page, 1)
    page.evaluate("window.camera = client.stream; client.stream = null")
    for last in ("camera", "picture()", "new MediaStream()"):
        page.evaluate(
            f"""async () => {{
              const streams = [picture(), camera.clone(), new MediaStream(), camera.clone()];
              for (const stream of streams) {{
                client.stream = stream;
                client.shareScreen(picture());
                client.stopScreen();
                await null;
              }}
              client.stream = {last};
            }}"""
        )
        page.wait_for_function(
            """() => {
              const pc = client.peerConnection([...client.members.keys()][0]);
              const wanted = client.stream.getTracks();
              const sent = pc.getTransceivers()
                .filter(({ currentDirection }) => /send/.test(currentDirection))
                .map(({ sender }) => sender.track);
              return pc.signalingState === "stable" && sent.length === wanted.length
                && wanted.every((track) => sent.includes(track))
                && pc.getSenders().every(({ track }) => !track || wanted.includes(track));
            }"""
        )
    assert not events(page, "error")
    assert not events(other, "error", "leave")


def test_tracks_that_the_page_turns_off_itself(join: Join) -> None:
    """Tracks that the page has turned off stay off when assigned, until it asks for sound."""
    page = join("own")
    assert page.evaluate(
        f"""async () => {{
          const isOn = () => client.stream.getAudioTracks()[0].enabled;
          const results = [];
          client.changeAudioTrackEnabled(true);
          const own = await {OPEN};
          own.getAudioTracks()[0].enabled = false;
          client.stream = own;
          results.push(isOn());
          client.changeAudioTrackEnabled(false);
          client.stream = await {OPEN};
          client.changeAudioTrackEnabled(true);
          client.stream = own;
          results.push(isOn());
          client.changeAudioTrackEnabled(true);
          results.push(isOn());
          return results;
        }}"""
    ) == [False, False, True]


def test_a_screen_is_heard_while_the_microphone_is_muted(join: Join) -> None:
    """Muting affects the microphone alone."""
    page = join("loud")
    page.evaluate("client.changeAudioTrackEnabled(false)")
    assert page.evaluate(
        f"{OPEN}.then((stream) => client.shareScreen(stream))"
        ".then((stream) => stream.getAudioTracks()[0].enabled)"
    )


# The end


def test_close_leaves_nothing_behind(join: Join) -> None:
    """After `close` no connection, track, socket or timer of the client is left; twice is fine."""
    first, second = join("closing"), join("closing")
    connected(first, 1)
    connected(second, 1)
    left = first.evaluate(
        """async () => {
          const { stream } = client;
          const screen = await client.shareScreen(picture());
          const pcs = [...client.members.keys()].map((id) => client.peerConnection(id));
          client.close();
          client.close();
          return [pcs.every(({ signalingState }) => signalingState === "closed"),
                  stream.active, screen.active, client.stream, client.screen, client.clientId,
                  client.members.size, client.state];
        }"""
    )
    assert left == [True, False, False, None, None, None, 0, "closed"]
    second.wait_for_function("client.members.size === 0")
    assert [it["state"] for it in events(first, "state")] == ["connecting", "joined", "closed"]
    first.evaluate("client.joinRoom('closing')")
    connected(second, 1)


def test_twenty_calls_leave_no_connection_behind(join: Join) -> None:
    """Every RTCPeerConnection, WebSocket and track that the client makes is ended again."""
    other = join("twenty")
    page = join("elsewhere")
    page.evaluate(
        """() => {
          const made = (window.made = []);
          for (const name of ["RTCPeerConnection", "WebSocket"]) {
            window[name] = class extends window[name] {
              constructor(...args) { super(...args); made.push(this); }
            };
          }
        }"""
    )
    for _ in range(20):
        page.evaluate("client.close(); client.joinRoom('twenty')")
        page.wait_for_function("client.members.size === 1")
    page.evaluate("client.close()")
    page.wait_for_function(
        "made.length >= 40 && made.every((it) =>"
        " it.signalingState === 'closed' || it.readyState === WebSocket.CLOSED)"
    )
    other.wait_for_function("client.members.size === 0")
    joined, left = (len(events(other, type_)) for type_ in ("join", "leave"))
    assert joined == left


def test_close_while_joining(open_tab: OpenTab, demo: str) -> None:
    """`close` at any moment of `joinRoom` makes that reject; nothing is joined or left open."""
    page = sdk_page(open_tab, demo)
    outcomes = page.evaluate(
        """async () => {
          const outcomes = [];
          for (let wait = 0; wait < 60; wait += 3) {
            const client = newClient();
            const joining = client.joinRoom("never").then(() => "joined", (error) => error.name);
            await new Promise((resolve) => setTimeout(resolve, wait));
            client.close();
            outcomes.push([await joining, client.state, client.stream]);
          }
          return outcomes;
        }"""
    )
    assert {it[0] for it in outcomes} <= {"AbortError", "joined"}
    assert outcomes[0][0] == "AbortError"
    assert {(it[1], it[2]) for it in outcomes} == {("closed", None)}


def test_joining_twice_at_once(open_tab: OpenTab, demo: str, join: Join) -> None:
    """A double click joins once."""
    other, page = join("double"), sdk_page(open_tab, demo)
    page.evaluate("Promise.all([client.joinRoom('double'), client.joinRoom('double')])")
    connected(page, 1)
    connected(other, 1)
    assert len(events(other, "join")) == 1


def test_a_member_that_joins_twice_at_once(join: Join, open_tab: OpenTab, demo: str) -> None:
    """A member without this SDK that is announced twice gets one offer, and is connected."""
    page = join("mixed")
    join_message = 'ws.send(JSON.stringify({ type: "join", payload: { room_id: "mixed" } }));'
    html = (PAGES / "full_sdp.html").read_text()
    assert html.count(join_message) == 1
    offer = 'if (type === "offer")'
    html = html.replace(offer, f"{offer} window.offers = (window.offers ?? 0) + 1; {offer}")
    twice = open_tab(f"{demo}page.html", html=html.replace(join_message, join_message * 2))
    connected(page, 1)
    assert twice.evaluate("offers") == 1
    assert not events(page, "error", "leave")


def test_there_and_back_again(join: Join) -> None:
    """A member that leaves a room and comes back over the same connection is met again."""
    staying, wandering = join("there"), join("there")
    for tab in (staying, wandering):
        connected(tab, 1)
        tab.wait_for_function("client.send(null) === 1")
    # Here the end of the connection takes longer to arrive than the server's news.
    wandering.evaluate(
        """async () => {
          const { close } = RTCPeerConnection.prototype;
          RTCPeerConnection.prototype.close = function () {
            setTimeout(() => close.call(this), 600);
          };
          await client.joinRoom("elsewhere");
          await client.joinRoom("there");
        }"""
    )
    connected(wandering, 1)
    connected(staying, 1)
    wandering.wait_for_function("client.send('hello') === 1")


def test_joining_anew_while_the_user_is_being_asked(open_tab: OpenTab, demo: str) -> None:
    """`close` during an open permission prompt ends that call, and not the next."""
    page = sdk_page(open_tab, demo)
    outcome = page.evaluate(
        """async () => {
          const { mediaDevices } = navigator;
          const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
          let answer;
          const asked = new Promise((resolve) => (answer = resolve));
          mediaDevices.getUserMedia = (wish) => asked.then(() => getUserMedia(wish));
          const first = client.joinRoom("asked").then(() => "joined", ({ name }) => name);
          client.close();
          const second = client.joinRoom("asked").then(() => "joined", ({ name }) => name);
          answer();
          return [await first, await second, client.stream.active];
        }"""
    )
    assert outcome == ["AbortError", "joined", True]


def test_another_room(join: Join) -> None:
    """A client that joins another room leaves the first: its members go and the others come."""
    wanderer, first, second = join("first"), join("first"), join("second")
    connected(wanderer, 1)
    wanderer.evaluate("client.joinRoom('second')")
    first.wait_for_function("client.members.size === 0")
    connected(second, 1)
    connected(wanderer, 1)


def test_faults_of_the_page_are_events(join: Join) -> None:
    """A callback that throws or rejects stops nothing, and is told as an error."""
    page = join("faults")
    page.evaluate(
        """() => {
          client.onTrack = () => { throw new Error("from onTrack"); };
          client.onLeave = async () => { throw new Error("from onLeave"); };
        }"""
    )
    other = join("faults")
    connected(page, 1)
    page.wait_for_function("client.events.some(({ type }) => type === 'track')")
    other.evaluate("client.close()")
    page.wait_for_function("client.events.filter(({ source }) => source === 'callback').length > 1")


# The files


def test_the_types_name_what_is_there() -> None:
    """signaling.d.ts declares every public member of the class, and no other."""
    code = (SDK / "signaling.js").read_text(encoding="utf-8")
    body = code[code.index("class SignalingClient") : code.index("export { SignalingClient")]
    members = re.findall(
        r"^  (?:async |get |set )?(?!constructor)(\w+)(?: = |\(.*\) \{)", body, re.M
    )
    types = (SDK / "signaling.d.ts").read_text(encoding="utf-8")
    body = types[types.index("class SignalingClient") :]
    declared = re.findall(r"^  (?:readonly |get |set )?(?!constructor)(\w+)[:(<]", body, re.M)
    assert set(members) == set(declared) - {"addEventListener", "removeEventListener"}


def test_the_sdk_stands_alone() -> None:
    """The SDK is one file that imports nothing."""
    assert "import" not in re.sub(
        r"/\*.*?\*/|//.*", "", (SDK / "signaling.js").read_text(), flags=re.S
    )
