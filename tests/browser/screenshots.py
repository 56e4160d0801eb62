"""Takes the pictures of the documentation: `python -m tests.browser.screenshots`.

It writes the lobby and a call of five to docs/, each as wide as a desk and as a phone. The people
are drawn: Chromium plays a file instead of a camera.
"""

import math
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, Playwright, ViewportSize, sync_playwright

from tests.browser.conftest import CHROMIUM, FAKE_DEVICES, FLAGS, GRANT, url_of
from tests.support.server_process import server_process

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
DESK = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=390, height=844)
WIDTH, HEIGHT = 640, 480

# Each has a name, the hue of the room and the hue of the clothes.
PEOPLE = [
    ("Ada", 205, 25),
    ("Grace", 150, 280),
    ("Linus", 35, 215),
    ("Radia", 330, 170),
    ("You", 260, 50),
]


def draw(path: Path, room: float, clothes: float) -> None:
    """Write a video (YUV4MPEG2) of one picture, with head and shoulders in front of a wall."""
    luma = bytearray()
    blue, red = bytearray(), bytearray()
    for y in range(HEIGHT):
        for x in range(WIDTH):
            light, hue, colour = _pixel(x / WIDTH, y / HEIGHT, room, clothes)
            luma.append(round(16 + 219 * light))
            if x % 2 == y % 2 == 0:
                blue.append(round(128 + 112 * colour * math.cos(math.radians(hue))))
                red.append(round(128 + 112 * colour * math.sin(math.radians(hue))))
    header = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F5:1 Ip A1:1 C420mpeg2\n".encode()
    frame = b"FRAME\n" + luma + blue + red
    path.write_bytes(header + frame * 5)


def _pixel(x: float, y: float, room: float, clothes: float) -> tuple[float, float, float]:
    """Return the light from 0 to 1, the hue in the UV plane in degrees, and the saturation."""
    head = math.hypot((x - 0.5) / 0.13, (y - 0.42) / 0.215)
    hair = math.hypot((x - 0.5) / 0.155, (y - 0.375) / 0.23)
    shoulders = math.hypot((x - 0.5) / 0.33, (y - 1.02) / 0.37)
    neck = abs(x - 0.5) < 0.06 and 0.5 < y < 0.72
    if head < 1:
        return 0.72 - 0.1 * head * head, 140, 0.2
    if shoulders < 1 and not (neck and y < 0.68):
        return 0.5 - 0.12 * shoulders, clothes, 0.28
    if neck:
        return 0.6, 140, 0.2
    if hair < 1 and y < 0.52:
        return 0.2 + 0.05 * (1 - y), 150, 0.08
    lamp = math.exp(-((x - 0.82) ** 2 + (y - 0.18) ** 2) * 9)
    return 0.36 + 0.1 * (1 - y) + 0.3 * lamp, room, 0.14


def join(playwright: Playwright, stack: ExitStack, url: str, name: str, video: Path) -> Page:
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=[*FLAGS, FAKE_DEVICES, GRANT, f"--use-file-for-fake-video-capture={video}"],
    )
    stack.callback(browser.close)
    context = browser.new_context(permissions=["camera", "microphone"], viewport=DESK)
    page = context.new_page()
    page.goto(f"{url}#garden-party")
    page.locator("#name").fill(name)
    page.wait_for_function("() => document.querySelector('#preview').videoWidth > 0")
    return page


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        server = stack.enter_context(server_process("-demo", env={"SIGNALING_ICE_SERVERS": "[]"}))
        playwright = stack.enter_context(sync_playwright())
        pages = []
        for name, room, clothes in PEOPLE:
            video = folder / f"{name}.y4m"
            draw(video, room, clothes)
            page = join(playwright, stack, url_of(server), "" if name == "You" else name, video)
            if name == "You":
                _both(page, "lobby")
            page.locator("#join").click()
            pages.append(page)
        you = pages[-1]
        you.wait_for_function(
            "() => document.querySelectorAll('.tile[data-state=connected]').length === 5"
        )
        pages[1].locator("#microphone").click()
        pages[3].locator("#camera").click()
        you.wait_for_function(
            "() => document.querySelector('[data-audio=off]')"
            " && document.querySelector('[data-video=off]')"
        )
        # The messages about members that came must have disappeared.
        you.wait_for_function(
            "() => [...document.querySelectorAll('#status > *')].every((it) => it.hidden)",
            timeout=60_000,
        )
        _both(you, "call")


def _both(page: Page, name: str) -> None:
    for suffix, size in (("", DESK), ("-phone", PHONE)):
        page.set_viewport_size(size)
        page.evaluate("() => new Promise((shown) => setTimeout(shown, 500))")
        page.screenshot(path=DOCS / f"{name}{suffix}.png")
    page.set_viewport_size(DESK)


if __name__ == "__main__":
    main()
