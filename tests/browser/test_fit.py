"""The demo fits windows of every width, whatever the names of the room and its members."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import FAKE_DEVICES, REFUSE, Launch, OpenTab

# From the narrowest phone to a desk, and a phone on its side.
SIZES = [(320, 568), (390, 844), (568, 320), (768, 1024), (1280, 800)]

NAMES = {
    "proposed": "mellow-walrus-mmww-wwmm-mwmw",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "wide": "W" * 255,
    "emoji": "👩‍👩‍👧‍👦" * 36,
    "right-to-left": "שלום" * 63,
    "cjk": "漢字" * 127,
    "no-break spaces": "room\u00a0of\u00a0one\u00a0word\u00a0" * 12,
    "words": "the room of a great many words " * 8,
}

# Returns what sticks out of the window or of what clips it, and what scrolls sideways.
STICKING_OUT = """
() => {
  const shown = (it) => it.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const name = (it) => `${it.tagName} ${it.id || it.className} ${it.textContent.slice(0, 20)}`;
  const all = [...document.body.querySelectorAll("*")].filter(shown);
  const clips = (it) => getComputedStyle(it).overflowX !== "visible";
  const inside = (it) => {
    const { left, right } = it.getBoundingClientRect();
    if (left < 0 || right > innerWidth) return false;
    for (let box = it.parentElement; box; box = box.parentElement) {
      const { left: least, right: most } = box.getBoundingClientRect();
      if (clips(box) && (left < least - 1 || right > most + 1)) return false;
    }
    return true;
  };
  const cut = (it) => /auto|scroll/.test(getComputedStyle(it).overflowX)
    && !it.matches("input") && it.scrollWidth > it.clientWidth;
  const page = document.scrollingElement;
  const pressed = "button, input, textarea, a, .tile, .tile-label, .message, .problem, #status p";
  return [
    ...(page.scrollWidth > innerWidth ? [`the page is ${page.scrollWidth} wide`] : []),
    ...all.filter((it) => it.matches(pressed) && !inside(it)).map(name),
    ...all.filter(cut).map((it) => `${name(it)} scrolls sideways`),
  ];
}
"""

# One member is in each state, one has a screen, and everything else that a call can show is seen.
FILL_THE_CALL = """
(name) => {
  const states = ["connected", "connecting", "disconnected", "failed"];
  const screen = new MediaStream();
  const members = new Map(states.map((state, i) => [
    String(i),
    { state, info: { audio: false, video: null, screen: screen.id, name }, streams: [screen] },
  ]));
  Object.defineProperty(signaling, "members", { value: members });
  const tell = (type, detail) => signaling.dispatchEvent(new CustomEvent(type, { detail }));
  for (const clientId of members.keys()) tell("join", { clientId });
  tell("message", { clientId: "0", data: { chat: name.repeat(2) } });
  tell("error", { source: "server", error: new Error("failed to join room") });
  tell("error", { source: "server", error: new Error(name) });
  tell("state", { state: "reconnecting" });
  document.getElementById("hear").hidden = false;
}
"""


@pytest.fixture
def refusing(launch: Launch) -> Browser:
    return launch(FAKE_DEVICES, REFUSE)


def fits(page: Page, state: str, needed: str) -> None:
    """Check that in each size nothing sticks out and `needed` is in view without scrolling."""
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("() => new Promise((drawn) => setTimeout(drawn, 50))")
        assert page.evaluate("innerWidth") == width
        assert page.evaluate(STICKING_OUT) == [], f"{state} in {width} x {height}"
        expect(page.locator(needed)).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_any_name_fits(open_tab: OpenTab, demo: str, name: str) -> None:
    """Nothing sticks out of the window or scrolls sideways, from 320 px up, in any state.

    The room and everybody in it have that name.
    """
    page = open_tab(demo)
    expect(page.locator("#lobby")).to_be_visible()
    page.evaluate("name => { location.hash = encodeURIComponent(name); }", name)
    expect(page.locator("#lobby h1")).to_contain_text("Join")
    page.locator("#name").fill(name[:60])
    fits(page, "the lobby", "#join")
    page.locator("#join").click()
    expect(page.locator(".invitation")).to_be_visible()
    fits(page, "the invitation", "#copy")
    # This is below the link, however long that is.
    expect(page.locator(".invitation button")).to_be_in_viewport(ratio=1)
    page.locator("#copy").evaluate(
        "it => { navigator.clipboard.writeText = () => Promise.reject(); it.click(); }"
    )
    expect(page.locator("#link")).to_be_visible()
    fits(page, "the link", "#link button")
    page.locator("#link button").click()
    page.evaluate(FILL_THE_CALL, name)
    expect(page.locator("#banner")).to_contain_text(name[:10])
    fits(page, "the call", "#leave")
    page.locator("#chat-toggle").click()
    page.locator("#chat-input").fill(name)
    page.locator("#chat-input").press("Enter")
    expect(page.locator(".message")).to_have_count(2)
    page.locator("#chat-input").fill(name)
    fits(page, "the chat", "#chat-close")
    page.locator("#leave").click()
    expect(page.locator("#join")).to_be_visible()
    fits(page, "the lobby after a call", "#join")


def test_any_name_fits_with_a_problem(open_tab: OpenTab, demo: str, refusing: Browser) -> None:
    """The same holds when the lobby says what is wrong, and when the call does."""
    page = open_tab(demo, browser=refusing, permissions=())
    for name in NAMES.values():
        page.evaluate("name => { location.hash = encodeURIComponent(name); }", name)
        expect(page.locator("#problem")).to_be_visible()
        fits(page, "a problem", "#join")
    page.locator("#join").click()
    expect(page.locator("#call")).to_be_visible()
    page.locator("#camera").click()
    expect(page.locator("#banner")).to_be_visible()
    fits(page, "a problem in the call", "#leave")
