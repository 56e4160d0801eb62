"""The demo in real browsers: a call from the lobby to the end, and what can go wrong in it.

`open_tab` makes every test here fail if a page logs an error, breaks its Content-Security-Policy or
leaves a rejected promise unhandled.
"""

import math
import re
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import FAKE_DEVICES, GRANT, REFUSE, Launch, OpenTab, url_of
from tests.browser.test_sdk import NO_SERVER, WATCH_SENDING
from tests.support.certificates import files
from tests.support.server_process import ServerProcess, server_process

Call = Callable[..., Page]

# Waits until a member's tile shows a moving picture and its sound is not silence. It loops itself,
# since wait_for_function takes the first promise that it gets as the answer, whatever its value.
IS_SEEN_AND_HEARD = """
async (id) => {
  let before;
  for (;;) {
    await new Promise((later) => setTimeout(later, 100));
    const video = document.querySelector(`[data-client-id="${id}"] video`);
    const pc = window.signaling.peerConnection(id);
    if (!video || !pc) continue;
    const now = { time: video.currentTime, frames: 0, energy: 0 };
    for (const report of (await pc.getStats()).values()) {
      if (report.type !== "inbound-rtp") continue;
      now.frames += report.framesDecoded ?? 0;
      now.energy += report.totalAudioEnergy ?? 0;
    }
    before ??= now;
    if (now.time > before.time && now.frames > before.frames && now.energy > 0
      && video.videoWidth > 0 && !video.paused) return true;
  }
}
"""

PROPOSED = r"[a-z]+-[a-z]+(-[bcdfghjkmpqrstvwxz]{4}){3}"


@pytest.fixture
def call(open_tab: OpenTab, demo: str) -> Call:
    """Return a function that opens the demo, fills in the lobby and joins."""

    def call(room: str, name: str = "", url: str = demo, **options: Any) -> Page:
        page = open_tab(url, **options)
        enter(page, room, name)
        return page

    return call


def enter(page: Page, room: str, name: str = "") -> None:
    page.locator("#name").fill(name)
    page.locator("#room").fill(room)
    page.locator("#join").click()
    expect(page.locator("#call")).to_be_visible()
    expect(page.locator("#lobby")).to_be_hidden()


def members(page: Page, count: int) -> list[str]:
    """Wait for the tiles of this many connected members; return their ids."""
    tiles = page.locator('.tile:not([data-client-id="me"]):not([data-screen])')
    expect(tiles).to_have_count(count)
    expect(page.locator('.tile:not([data-client-id="me"])[data-state="connected"]')).to_have_count(
        count
    )
    return [tile.get_attribute("data-client-id") or "" for tile in tiles.all()]


def tile_of(page: Page, other: Page) -> str:
    """Return the selector of the tile that shows the other tab's user."""
    return f'.tile[data-client-id="{other.evaluate("signaling.clientId")}"]'


def test_three_see_and_hear_each_other(call: Call) -> None:
    """Each of three tabs shows the moving pictures of the others, and hears them, in 10 s."""
    tabs = [call("three", f"Tab {number}") for number in range(3)]
    for tab in tabs:
        for client_id in members(tab, 2):
            tab.wait_for_function(IS_SEEN_AND_HEARD, arg=client_id)
    for tab, other in permutations(tabs, 2):
        name = f"Tab {tabs.index(other)}"
        expect(tab.locator(tile_of(tab, other))).to_contain_text(name)


def test_six_form_a_full_mesh(call: Call) -> None:
    """Six tabs form fifteen connections, so that each shows five others."""
    tabs = [call("six") for _ in range(6)]
    ids = {tab.evaluate("signaling.clientId") for tab in tabs}
    for tab in tabs:
        assert {*members(tab, 5), tab.evaluate("signaling.clientId")} == ids


def test_a_tab_that_closes_is_gone_at_once(call: Call) -> None:
    """The others drop its tile in less than a second."""
    first, second, closing = (call("closing") for _ in range(3))
    for tab in (first, second, closing):
        members(tab, 2)
    tile = tile_of(first, closing)
    for tab in (first, second):
        tab.evaluate(
            """selector => new MutationObserver(() => {
              if (!document.querySelector(selector)) window.gone ??= Date.now();
            }).observe(document.body, { childList: true, subtree: true })""",
            tile,
        )
    now = first.evaluate("Date.now()")
    closing.close()
    for tab in (first, second):
        tab.wait_for_function("() => window.gone")
        assert tab.evaluate("gone") - now < 1000
        expect(tab.locator("#status")).to_contain_text("left")
        members(tab, 1)


def test_mute_and_camera_off_are_seen(call: Call) -> None:
    """The others see that a member is muted or shows no picture, and that this has ended."""
    first, second = call("mute"), call("mute")
    tile = first.locator(tile_of(first, second))
    members(first, 1)
    expect(tile).to_have_attribute("data-audio", "on")
    second.locator("#microphone").click()
    second.locator("#camera").click()
    expect(tile).to_have_attribute("data-audio", "off")
    expect(tile).to_have_attribute("data-video", "off")
    own = second.locator('.tile[data-client-id="me"]')
    expect(own).to_have_attribute("data-audio", "off")
    expect(own).to_have_attribute("data-video", "off")
    # A member that comes later sees it too.
    third = call("mute")
    expect(third.locator(tile_of(third, second))).to_have_attribute("data-audio", "off")
    # A letter alone presses no button.
    second.keyboard.press("m")
    second.keyboard.press("Alt+m")
    second.keyboard.press("Alt+v")
    expect(tile).to_have_attribute("data-audio", "on")
    expect(tile).to_have_attribute("data-video", "on")


def test_a_reload_keeps_who_one_is_and_what_is_off(call: Call) -> None:
    """After a reload, the lobby has the same name, and microphone and camera are still off.

    So is whatever is sent. Each tab keeps its own choices, and a new one begins with the name that
    was given last.
    """
    page = call("reload", "Ann")
    page.keyboard.press("Alt+m")
    page.keyboard.press("Alt+v")
    expect(page.locator("#microphone")).to_have_attribute("data-state", "off")
    second = page.context.new_page()
    second.goto(page.url)
    expect(second.locator("#name")).to_have_value("Ann")
    enter(second, "reload", "Bob")
    expect(second.locator("#microphone")).to_have_attribute("data-state", "on")

    page.add_init_script(f"({WATCH_SENDING})()")
    page.reload()
    expect(page.locator("#name")).to_have_value("Ann")
    for button in ("#preview-microphone", "#preview-camera"):
        expect(page.locator(button)).to_have_attribute("data-state", "off")
    page.locator("#join").click()
    members(page, 1)
    expect(page.locator("#microphone")).to_have_attribute("data-state", "off")
    tile = second.locator(tile_of(second, page))
    for kind in ("audio", "video"):
        expect(tile).to_have_attribute(f"data-{kind}", "off")
    expect(tile).to_contain_text("Ann")
    assert page.evaluate("sentWhileOn") == []

    page.keyboard.press("Alt+v")
    expect(tile).to_have_attribute("data-video", "on")
    page.reload()
    expect(page.locator("#preview-camera")).to_have_attribute("data-state", "on")
    expect(page.locator("#preview-microphone")).to_have_attribute("data-state", "off")


def test_a_screen_is_shared(call: Call) -> None:
    """Sharing negotiates anew: the others get one more moving picture, and lose it again."""
    sharing, watching = call("screen"), call("screen")
    members(sharing, 1)
    sharing.locator("#screen").click()
    screen = watching.locator(f'{tile_of(watching, sharing)}[data-screen="true"]')
    expect(screen).to_be_visible()
    expect(sharing.locator('.tile[data-client-id="me"][data-screen="true"]')).to_be_visible()
    watching.wait_for_function(
        "() => document.querySelector('[data-screen] video').getVideoPlaybackQuality()"
        ".totalVideoFrames > 3"
    )
    members_tile = watching.locator(f"{tile_of(watching, sharing)}:not([data-screen])")
    expect(members_tile).to_be_visible()
    sharing.locator("#screen").click()
    expect(screen).to_have_count(0)
    expect(members_tile).to_be_visible()


def test_chat(call: Call) -> None:
    """A message is read by all, with the writer's name, and counts as unread until it is read."""
    first, second = call("chat", "Ann"), call("chat", "Bob")
    members(first, 1)
    second.wait_for_function("() => signaling.send(null) === 1")
    first.wait_for_function("() => signaling.send(null) === 1")
    first.keyboard.press("Alt+c")
    first.locator("#chat-input").fill("hello <b>there</b>")
    first.keyboard.press("Enter")
    expect(second.locator("#chat-toggle")).to_contain_text("1")
    assert second.title().startswith("(1)")
    second.locator("#chat-toggle").click()
    line = second.locator("#chat-log li").last
    expect(line).to_contain_text("hello <b>there</b>")
    expect(line).to_contain_text("Ann")
    second.locator("#chat-input").fill("hi")
    second.keyboard.press("Enter")
    expect(first.locator("#chat-log li").last).to_contain_text("hi")
    # In a text field, Alt and a letter may type another letter.
    second.keyboard.press("Alt+m")
    expect(second.locator("#microphone")).to_have_attribute("aria-pressed", "true")
    expect(second.locator('.tile[data-client-id="me"]')).to_have_attribute("data-audio", "on")


def test_a_call_over_tls(call: Call) -> None:
    """The page may come from any address then, and its WebSocket is over TLS too."""
    with server_process("-demo", env={**files().env, "SIGNALING_ICE_SERVERS": "[]"}) as server:
        url = f"https://127.0.0.1:{server.port}/"
        tabs = [call("tls", url=url, ignore_https_errors=True) for _ in range(2)]
        for tab in tabs:
            for client_id in members(tab, 1):
                tab.wait_for_function(IS_SEEN_AND_HEARD, arg=client_id)


def test_the_server_comes_back(call: Call, complaints: list[str]) -> None:
    """When the server is killed and comes back, the page says so, and the room is whole again."""
    complaints.append(NO_SERVER)
    with server_process("-demo", env={"SIGNALING_ICE_SERVERS": "[]"}, exit_code=-9) as server:
        url, port = url_of(server), str(server.port)
        tabs = [call("restart", url=url) for _ in range(2)]
        for tab in tabs:
            members(tab, 1)
        server.kill()
        for tab in tabs:
            expect(tab.locator("#banner")).to_be_visible()
            # The call continues meanwhile.
            members(tab, 1)
    with server_process("-demo", "-port", port, env={"SIGNALING_ICE_SERVERS": "[]"}):
        for tab in tabs:
            expect(tab.locator("#banner")).to_be_hidden(timeout=15_000)
        late = call("restart", url=url)
        members(late, 2)
        for tab in tabs:
            for client_id in members(tab, 2):
                tab.wait_for_function(IS_SEEN_AND_HEARD, arg=client_id)


@pytest.fixture
def refusing(launch: Launch) -> Browser:
    return launch(FAKE_DEVICES, REFUSE)


def test_permission_refused(call: Call, open_tab: OpenTab, demo: str, refusing: Browser) -> None:
    """The lobby says how to allow them; a user who joins anyway sees and hears the others."""
    other = call("refused")
    page = open_tab(demo, browser=refusing, permissions=())
    expect(page.locator("#problem")).to_contain_text(re.compile("permission|allow", re.IGNORECASE))
    enter(page, "refused")
    (client_id,) = members(page, 1)
    page.wait_for_function(IS_SEEN_AND_HEARD, arg=client_id)
    tile = other.locator(tile_of(other, page))
    expect(tile).to_have_attribute("data-audio", "none")
    expect(tile).to_have_attribute("data-video", "none")


def test_no_devices(open_tab: OpenTab, demo: str, launch: Launch) -> None:
    """A user without camera and microphone is told so, and may join."""
    page = open_tab(demo, browser=launch(GRANT))
    expect(page.locator("#problem")).to_contain_text(re.compile("camera", re.IGNORECASE))
    enter(page, "bare")
    expect(page.locator('.tile[data-client-id="me"]')).to_have_attribute("data-video", "none")


@pytest.fixture
def elsewhere(
    open_tab: OpenTab, server: ServerProcess, launch: Launch, complaints: list[str]
) -> Page:
    """Return the lobby as it is when it came over http from another machine."""
    complaints.append("Cross-Origin-Opener-Policy header has been ignored")
    browser = launch(FAKE_DEVICES, GRANT, "--host-resolver-rules=MAP elsewhere.test 127.0.0.1")
    page = open_tab(f"http://elsewhere.test:{server.port}/", browser=browser, permissions=())
    assert not page.evaluate("isSecureContext")
    return page


def test_an_insecure_origin(elsewhere: Page) -> None:
    """A page that came over http from another machine says why there is no camera."""
    expect(elsewhere.locator("#problem")).to_contain_text("https")
    enter(elsewhere, "insecure")
    expect(elsewhere.locator('.tile[data-client-id="me"]')).to_be_visible()


def test_a_room_that_is_proposed_cannot_be_guessed(elsewhere: Page) -> None:
    """Strangers do not meet in it: its name is one of more than 2**60, all equally probable."""
    expect(elsewhere.locator("#room")).to_have_value(re.compile(f"^{PROPOSED}$"))
    # So many names have every word, and every letter in every place.
    rooms = elsewhere.evaluate(
        """async () => {
          const { proposedRoom } = await import("/rooms.js");
          return Array.from({ length: 2000 }, proposedRoom);
        }"""
    )
    parts = []
    for room in rooms:
        assert re.fullmatch(PROPOSED, room)
        quality, being, *groups = room.split("-")
        parts.append((quality, being, *"".join(groups)))
    assert math.prod(len(set(choices)) for choices in zip(*parts, strict=True)) >= 2**60
    # 2**32 is a multiple neither of the 40 words nor of the 18 letters, so that its last numbers
    # would make some of them more probable.
    assert elsewhere.evaluate(
        """async () => {
          const { proposedRoom } = await import("/rooms.js");
          let drawn = 0;
          crypto.getRandomValues = (numbers) => numbers.fill(drawn++ % 2 ? 0 : 2 ** 32 - 1);
          return [proposedRoom(), drawn];
        }"""
    ) == ["amber-badger-bbbb-bbbb-bbbb", 2 * (2 + 12)]


def test_the_server_is_gone_before_the_join(open_tab: OpenTab, complaints: list[str]) -> None:
    """The lobby stays, says that the server does not answer, and works when the server is back."""
    complaints.append(NO_SERVER)
    with server_process("-demo", env={"SIGNALING_ICE_SERVERS": "[]"}) as server:
        url, port = url_of(server), str(server.port)
        page = open_tab(url)
        page.wait_for_load_state("networkidle")
    page.locator("#room").fill("gone")
    page.locator("#join").click()
    expect(page.locator("#problem")).to_contain_text(re.compile("server", re.IGNORECASE))
    expect(page.locator("#lobby")).to_be_visible()
    with server_process("-demo", "-port", port, env={"SIGNALING_ICE_SERVERS": "[]"}):
        enter(page, "gone")


def test_a_member_that_cannot_be_reached(call: Call) -> None:
    """The member's tile says so, and the page names what is missing: a TURN server."""
    first, second = call("unreachable"), call("unreachable", "Bob")
    members(first, 1)
    first.evaluate(
        """() => {
          const [id] = signaling.members.keys();
          const pc = signaling.peerConnection(id);
          Object.defineProperty(pc, "connectionState", { get: () => "failed" });
          pc.dispatchEvent(new Event("connectionstatechange"));
        }"""
    )
    expect(first.locator(tile_of(first, second))).to_have_attribute("data-state", "failed")
    expect(first.locator("#banner")).to_contain_text("TURN")
    expect(first.locator("#banner")).to_contain_text("Bob")


def test_what_others_send_is_not_shown_as_the_pages_own(call: Call) -> None:
    """The page shows neither what a browser quotes of an offer nor characters that turn a name."""
    first, second = call("hostile", "Ann"), call("hostile")
    members(first, 1)
    second.evaluate("signaling.setName('\\u202eAnn\\u2066\\u0007 (you)')")
    tile = first.locator(tile_of(first, second))
    expect(tile.locator(".tile-name")).to_have_text("Ann (you)", use_inner_text=True)
    expect(tile.locator(".you")).to_be_hidden()
    expect(first.locator('[data-client-id="me"] .you')).to_be_visible()
    first.evaluate(
        """() => {
          const [clientId] = signaling.members.keys();
          const error = new Error("Invalid SDP line: call 0900 " + "x".repeat(5000));
          const detail = { source: "peer", error, clientId };
          signaling.dispatchEvent(new CustomEvent("error", { detail }));
        }"""
    )
    expect(first.locator("#status")).to_contain_text("could not be agreed on")
    expect(first.locator("#status")).not_to_contain_text("0900")


def test_messages_cover_nothing(call: Call) -> None:
    """A message of any length stays below a problem and above the controls, on a phone too."""
    page = call("covered", viewport={"width": 320, "height": 568})
    page.evaluate(
        """() => {
          const fail = (text) => {
            const detail = { source: "server", error: new Error(text) };
            signaling.dispatchEvent(new CustomEvent("error", { detail }));
          };
          signaling.dispatchEvent(new CustomEvent("state", { detail: { state: "reconnecting" } }));
          for (let i = 0; i < 4; i++) fail("long ".repeat(500));
        }"""
    )
    expect(page.locator("#banner")).to_be_visible()
    message = page.locator("#status > p").last
    assert len(message.text_content() or "") == 200
    for width, height in [(320, 568), (390, 844), (568, 320), (844, 390), (1280, 800)]:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(
            """() => {
              const box = (it) => it.getBoundingClientRect();
              const all = (selector) => [...document.querySelectorAll(selector)].map(box);
              const apart = (a, b) => a.right <= b.left || b.right <= a.left
                || a.bottom <= b.top || b.bottom <= a.top;
              return all("#status > p").every((it) => it.right <= innerWidth
                && all("#banner, .controls button").every((other) => apart(it, other)));
            }"""
        )


def test_a_room_that_the_server_refuses(open_tab: OpenTab) -> None:
    """The lobby stays, says so, and lets the user choose a shorter name."""
    env = {"SIGNALING_ICE_SERVERS": "[]", "SIGNALING_MAX_ROOM_NAME": "10"}
    with server_process("-demo", env=env) as server:
        page = open_tab(url_of(server))
        page.locator("#room").fill("a-name-too-long")
        page.locator("#join").click()
        expect(page.locator("#problem")).to_contain_text("not accepted")
        expect(page.locator("#lobby")).to_be_visible()
        enter(page, "short")
        page.close()


def test_a_room_that_cannot_be_joined_just_now(open_tab: OpenTab) -> None:
    """The lobby says so while the client tries again, and lets the user stop that."""
    # A cluster without its Redis.
    env = {"SIGNALING_ICE_SERVERS": "[]", "REDIS_HOST": "127.0.0.1", "REDIS_PORT": "9"}
    with server_process("-demo", env=env) as server:
        page = open_tab(url_of(server))
        page.locator("#room").fill("later")
        page.locator("#join").click()
        expect(page.locator("#problem")).to_contain_text("just now. Trying again")
        expect(page.locator("#join")).to_have_text("Stop trying")
        page.locator("#join").click()
        expect(page.locator("#join")).to_have_text("Join")
        expect(page.locator("#problem")).to_be_hidden()
        page.close()


def test_a_room_that_is_refused_after_a_restart(call: Call, complaints: list[str]) -> None:
    """The call says so as long as the server refuses the room."""
    complaints.append(NO_SERVER)
    env = {"SIGNALING_ICE_SERVERS": "[]"}
    with server_process("-demo", env=env) as server:
        url, port = url_of(server), str(server.port)
        page = call("a-long-name", url=url)
        page.wait_for_load_state("networkidle")
    short = {**env, "SIGNALING_MAX_ROOM_NAME": "5"}
    with server_process("-demo", "-port", port, env=short):
        expect(page.locator("#banner")).to_contain_text("does not let you into this room again")
    with server_process("-demo", "-port", port, env=env):
        expect(page.locator("#banner")).to_be_hidden(timeout=30_000)


def test_settings_that_the_browser_refuses(open_tab: OpenTab, demo: str) -> None:
    """When the user joins, the lobby says so in the browser's words, and stays."""
    page = open_tab(demo)
    page.route(
        "**/ice-servers*", lambda route: route.fulfill(json={"iceServers": [{"urls": "nonsense"}]})
    )
    page.reload()
    page.locator("#room").fill("room")
    page.locator("#join").click()
    expect(page.locator("#problem")).to_contain_text("SIGNALING_ICE_SERVERS")
    expect(page.locator("#problem")).to_contain_text("nonsense")
    expect(page.locator("#join")).to_have_text("Join")


def test_a_device_comes_back(call: Call) -> None:
    """The device's button tries again, also during the call, and tells of a failure."""
    first, second = call("back"), call("back")
    members(first, 1)
    tile = first.locator(tile_of(first, second))
    expect(tile).to_have_attribute("data-audio", "on")
    second.evaluate(
        """() => {
          const [track] = signaling.stream.getAudioTracks();
          track.stop();
          track.dispatchEvent(new Event("ended"));
          const { mediaDevices } = navigator;
          const { getUserMedia } = mediaDevices;
          mediaDevices.getUserMedia = () => new Promise((resolve, reject) => {
            window.refuse = () => {
              mediaDevices.getUserMedia = async () => {
                mediaDevices.getUserMedia = getUserMedia;
                throw new DOMException("busy", "NotReadableError");
              };
              reject(new DOMException("busy", "NotReadableError"));
            };
          });
        }"""
    )
    expect(second.locator("#status")).to_contain_text("microphone is gone")
    expect(tile).to_have_attribute("data-audio", "none")
    for _ in range(2):
        second.locator("#microphone").click()
    expect(second.locator("#status")).to_contain_text("answer that first")
    second.evaluate("refuse()")
    expect(second.locator("#banner")).to_contain_text("another program")
    second.locator("#microphone").click()
    expect(second.locator("#banner")).to_be_hidden()
    expect(tile).to_have_attribute("data-audio", "on")
    expect(tile).to_have_attribute("data-video", "on")
    (client_id,) = members(first, 1)
    first.wait_for_function(IS_SEEN_AND_HEARD, arg=client_id)


# Until the test calls one of these, the user has not answered the browser's question.
UNANSWERED = """
const { mediaDevices } = navigator;
const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
mediaDevices.getUserMedia = (wish) => new Promise((resolve, reject) => {
  window.answer = () => getUserMedia(wish).then(resolve, reject);
  window.refuse = () => {
    mediaDevices.getUserMedia = getUserMedia;
    reject(new DOMException("no", "NotAllowedError"));
  };
});
"""


@pytest.fixture
def join_unanswered(open_tab: OpenTab, demo: str) -> Call:
    """Return a function like `call`'s, for a user who does not answer the browser's question."""

    def join(room: str) -> Page:
        page = open_tab("about:blank")
        page.add_init_script(UNANSWERED)
        page.goto(demo)
        page.wait_for_function("() => window.answer")
        enter(page, room)
        return page

    return join


def test_a_question_that_nobody_answers_holds_up_nothing(call: Call, join_unanswered: Call) -> None:
    """A user who leaves the browser's question open joins, sees and hears, and may answer later."""
    other, page = call("unanswered", "Ann"), join_unanswered("unanswered")
    (client_id,) = members(page, 1)
    page.wait_for_function(IS_SEEN_AND_HEARD, arg=client_id)
    tile = other.locator(tile_of(other, page))
    members(other, 1)
    expect(tile).to_have_attribute("data-video", "none")
    page.locator("#camera").click()
    expect(page.locator("#status")).to_contain_text("answer that first")
    page.evaluate("answer()")
    own = page.locator('.tile[data-client-id="me"]')
    expect(own).to_have_attribute("data-video", "on")
    expect(tile).to_have_attribute("data-video", "on")
    expect(tile).to_have_attribute("data-audio", "on")
    (client_id,) = members(other, 1)
    other.wait_for_function(IS_SEEN_AND_HEARD, arg=client_id)


def test_a_question_that_is_answered_while_joining(open_tab: OpenTab, demo: str) -> None:
    """The answer is not lost, whenever it comes, not even before the server has answered."""
    other = open_tab(demo)
    enter(other, "joining")
    page = open_tab("about:blank")
    page.add_init_script(UNANSWERED)
    page.goto(demo)
    page.wait_for_function("() => window.answer")
    page.evaluate(
        """() => {
          const join = signaling.joinRoom.bind(signaling);
          signaling.joinRoom = async (room) => {
            const joined = join(room);
            await answer();
            await new Promise((taken) => setTimeout(taken));
            return joined;
          };
        }"""
    )
    enter(page, "joining")
    (client_id,) = members(other, 1)
    other.wait_for_function(IS_SEEN_AND_HEARD, arg=client_id)


def test_a_question_that_is_refused_during_the_call(join_unanswered: Call) -> None:
    """The call says what to do about the refusal, and its buttons ask again."""
    page = join_unanswered("late")
    page.evaluate("refuse()")
    expect(page.locator("#banner")).to_contain_text("may not use your camera")
    page.locator("#camera").click()
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator('.tile[data-client-id="me"]')).to_have_attribute("data-video", "on")


def test_older_messages_are_read_in_peace(call: Call) -> None:
    """Messages that come meanwhile do not scroll to the end."""
    first, second = call("scroll"), call("scroll")
    members(first, 1)
    first.wait_for_function("() => signaling.send(null) === 1")
    second.locator("#chat-toggle").click()
    for count in (40, 41):
        first.evaluate("n => { for (let i = 0; i < n; i++) signaling.send({ chat: 'x' }); }", count)
        expect(second.locator("#chat-log li")).to_have_count(40 if count == 40 else 81)
        top = second.locator("#chat-log").evaluate("it => it.scrollTop")
        assert (top > 0) == (count == 40)
        second.locator("#chat-log").evaluate("it => { it.scrollTop = 0; }")


# The page


@pytest.mark.parametrize(("width", "height"), [(320, 568), (390, 844), (844, 390)])
def test_the_lobby_fits(
    open_tab: OpenTab, demo: str, refusing: Browser, width: int, height: int
) -> None:
    """The form is in view without scrolling on a phone, also when a problem is shown."""
    viewport = {"width": width, "height": height}
    for options in ({}, {"browser": refusing, "permissions": ()}):
        page = open_tab(demo, viewport=viewport, **options)
        if options:
            expect(page.locator("#problem")).to_be_visible()
        for field in ("#name", "#room", "#join"):
            expect(page.locator(field)).to_be_in_viewport(ratio=1)


def test_what_is_joined_is_what_is_shown(open_tab: OpenTab, demo: str) -> None:
    """While the page is joining, neither the field nor the address leads to another room."""
    page = open_tab(demo)
    page.wait_for_function("() => window.signaling")
    page.evaluate(
        """() => {
          const join = signaling.joinRoom.bind(signaling);
          signaling.joinRoom = async (room) => {
            await new Promise((go) => (window.go = go));
            await join(room);
          };
        }"""
    )
    page.locator("#room").fill("first")
    page.locator("#join").click()
    expect(page.locator("#join")).to_have_text("Joining…")
    expect(page.locator("#room")).not_to_be_editable()
    page.evaluate("location.hash = 'second'")
    expect(page.locator("#room")).to_have_value("first")
    page.evaluate("go()")
    expect(page.locator("#call h1")).to_have_text("first")
    assert page.url.endswith("#first")


def test_the_focus_is_never_lost(
    call: Call, open_tab: OpenTab, demo: str, refusing: Browser
) -> None:
    """An element that disappears while it has the focus hands the focus to the heading."""
    page = open_tab(demo, browser=refusing, permissions=())
    expect(page.locator("#retry")).to_be_visible()
    page.locator("#retry").press("Enter")
    expect(page.locator("#lobby h1")).to_be_focused()
    first = call("focus")
    first.locator(".invitation button").focus()
    call("focus")
    members(first, 1)
    expect(first.locator("#call h1")).to_be_focused()
    first.evaluate(
        """() => {
          signaling.dispatchEvent(new CustomEvent("state", { detail: { state: "reconnecting" } }));
        }"""
    )
    first.locator("#banner button").press("Enter")
    expect(first.locator("#banner")).to_be_hidden()
    expect(first.locator("#call h1")).to_be_focused()


def test_two_windows_and_no_reading(open_tab: OpenTab, demo: str) -> None:
    """Enter joins the room that is proposed; the room's link leads a second window into it."""
    first = open_tab(demo)
    expect(first.locator("#room")).not_to_be_empty()
    first.wait_for_function("() => document.querySelector('#preview').videoWidth > 0")
    first.locator("#room").press("Enter")
    expect(first.locator("#call")).to_be_visible()
    link = first.url
    assert "#" in link
    expect(first.locator("#grid")).to_contain_text(re.compile("link", re.IGNORECASE))
    second = open_tab(link)
    second.locator("#join").click()
    for tab in (first, second):
        members(tab, 1)
    assert second.url == link


def test_two_windows_of_one_computer(open_tab: OpenTab, demo: str) -> None:
    """Two windows on the same computer are in one call when Enter is pressed in each."""
    tabs = [open_tab(demo) for _ in range(2)]
    for tab in tabs:
        expect(tab.locator("#room")).to_be_visible()
        tab.locator("#room").press("Enter")
    for tab in tabs:
        members(tab, 1)


def test_the_link_is_copied(call: Call, demo: str) -> None:
    """The button puts the room's link on the clipboard."""
    page = call(
        "a room/ü", permissions=("camera", "microphone", "clipboard-read", "clipboard-write")
    )
    page.locator("#copy").click()
    expect(page.locator("#status")).to_contain_text(re.compile("copied", re.IGNORECASE))
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    assert link.startswith(f"{demo}#")


def test_leaving(call: Call) -> None:
    """Leaving leads back to the lobby; the others lose the tile; the user may join again."""
    staying, leaving = call("leaving"), call("leaving")
    members(staying, 1)
    leaving.locator("#leave").click()
    expect(leaving.locator("#lobby")).to_be_visible()
    members(staying, 0)
    leaving.wait_for_function("() => document.querySelector('#preview').videoWidth > 0")
    leaving.locator("#join").click()
    members(staying, 1)
    members(leaving, 1)


def test_your_own_tile_is_mirrored(call: Call) -> None:
    """One's own picture is mirrored and one's own sound muted; those of the others are not."""
    first, second = call("mirror"), call("mirror")
    members(first, 1)
    transform = "selector => getComputedStyle(document.querySelector(selector)).transform"
    assert first.evaluate(transform, '[data-client-id="me"] video').startswith("matrix(-1,")
    assert first.evaluate(transform, f"{tile_of(first, second)} video") == "none"
    assert first.evaluate("document.querySelector('[data-client-id=me] video').muted")


@pytest.mark.parametrize("fragment", ["%E0%A4%A", "%", "x" * 2000, "<img%20src=x>"])
def test_any_link_opens_the_lobby(open_tab: OpenTab, demo: str, fragment: str) -> None:
    """A link that is broken, too long or hostile opens a lobby that works."""
    page = open_tab(f"{demo}#{fragment}")
    expect(page.locator("#join")).to_be_visible()
    enter(page, "fine")
    assert page.locator("img[src=x]").count() == 0


def test_the_keyboard_is_enough(call: Call, open_tab: OpenTab, demo: str) -> None:
    """Every control is reached with the tab key and has a name for screen readers."""
    page = open_tab(demo)
    expect(page.locator("#name")).to_be_focused()
    page.keyboard.type("Ann")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#call")).to_be_visible()
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    controls = {"microphone", "camera", "screen", "chat-toggle", "copy", "leave"}
    assert controls <= reached
    for control in controls:
        expect(page.locator(f"#{control}")).to_have_accessible_name(re.compile(r"\w"))
    page.locator("#leave").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#lobby")).to_be_visible()


@pytest.mark.parametrize(("width", "height"), [(320, 568), (568, 320), (1280, 800)])
def test_twelve_fit(call: Call, width: int, height: int) -> None:
    """Twelve tiles are all in view, without overlapping and without scrolling, on a phone too."""
    page = call("twelve", viewport={"width": width, "height": height})
    page.evaluate(
        """() => {
          const member = { state: "connected", info: null, streams: [] };
          const ids = Array.from({ length: 11 }, (_, i) => String(i));
          const members = new Map(ids.map((id) => [id, member]));
          Object.defineProperty(signaling, "members", { value: members });
          for (const clientId of ids) {
            signaling.dispatchEvent(new CustomEvent("join", { detail: { clientId } }));
          }
        }"""
    )
    page.wait_for_function(
        """() => {
          const tiles = [...document.querySelectorAll(".tile")];
          const boxes = tiles.map((it) => it.getBoundingClientRect());
          const inside = boxes.every((it) => it.width > 40 && it.height > 30 && it.left >= 0
            && it.top >= 0 && it.right <= innerWidth + 1 && it.bottom <= innerHeight + 1);
          const apart = boxes.every((a, i) => boxes.every((b, j) => i >= j || a.right <= b.left + 1
            || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1));
          const { scrollWidth, scrollHeight } = document.documentElement;
          return boxes.length === 12 && inside && apart
            && scrollWidth <= innerWidth && scrollHeight <= innerHeight;
        }"""
    )
