"""Chromium and Firefox, and tabs in them that report what went wrong on their page."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from tests.browser.firefox import Firefox, FirefoxTab, running_firefox
from tests.support.server_process import ServerProcess, server_process

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FIREFOX = os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")

# The pages are the project's own, and what runs the tests may be root or in a container: neither
# goes with Chromium's sandbox. The others keep it from looking for anything beyond this machine.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page that the test makes up comes from no address, and would have to ask for a local one.
    "--disable-features=LocalNetworkAccessChecks",
]
# A moving picture, and a beep every second.
FAKE_DEVICES = "--use-fake-device-for-media-stream=fps=5"
GRANT = "--use-fake-ui-for-media-stream"  # Also picks a screen to share.
REFUSE = "--deny-permission-prompts"

# Every tab encodes its picture for every other tab, and all of them share one machine.
SMALL_PICTURES = """
const { mediaDevices } = navigator;
const getUserMedia = mediaDevices?.getUserMedia.bind(mediaDevices);
if (mediaDevices) mediaDevices.getUserMedia = (wish) =>
  getUserMedia({ ...wish, video: wish.video && { width: 160, height: 120 } });
"""

TIMEOUT = 10_000  # Milliseconds for whatever a test waits for.

OpenTab = Callable[..., Page]
OpenFirefoxTab = Callable[[str, str], FirefoxTab]
Launch = Callable[..., Browser]


NEEDED = {  # By path, what its tests need and have or not; CI does not do without.
    "tests/browser/": (CHROMIUM, "Chromium: apt install chromium, or set CHROMIUM=PATH"),
    "tests/browser/test_firefox.py": (
        FIREFOX,
        "Firefox: apt install firefox-esr, or set FIREFOX=PATH",
    ),
}
MISSING = {
    path: f"{path} needs {how}"
    for path, (found, how) in NEEDED.items()
    if found is None and os.environ.get("CI") != "true"
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for path, reason in MISSING.items():
            if path in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reason in MISSING.values():
        terminalreporter.write_line(reason)


@pytest.fixture(autouse=True)
def io_loop() -> None:
    """None: Playwright runs an event loop of its own."""


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    if CHROMIUM is None:
        pytest.fail("Chromium is missing, and CI does not do without: apt install chromium")
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def launch(playwright: Playwright) -> Iterator[Launch]:
    """Starts a browser with these flags besides the usual ones; one for all who want the same."""
    browsers: dict[tuple[str, ...], Browser] = {}

    def launch(*flags: str) -> Browser:
        if flags not in browsers:
            browsers[flags] = playwright.chromium.launch(
                executable_path=CHROMIUM, args=[*FLAGS, *flags]
            )
        return browsers[flags]

    yield launch
    for browser in browsers.values():
        browser.close()


@pytest.fixture(scope="package")
def server() -> Iterator[ServerProcess]:
    """`main.py -demo`, with no ICE server: the tabs find each other on this machine."""
    with server_process("-demo", env={"SIGNALING_ICE_SERVERS": "[]"}) as server:
        yield server


@pytest.fixture
def complaints() -> list[str]:
    """What a test expects its pages to complain of: patterns, to which it may add."""
    return []


@pytest.fixture
def open_tab(launch: Launch, complaints: list[str]) -> Iterator[OpenTab]:
    """Opens a URL in a tab that shares nothing with the others; closes them all in the end.

    It is a failure when a page logs an error, breaks its Content-Security-Policy, or has an error
    or a rejected promise that nobody handles, unless the test expects it.
    """
    heard: list[str] = []
    contexts = []

    def open_tab(
        url: str,
        *,
        browser: Browser | None = None,
        permissions: tuple[str, ...] = ("camera", "microphone"),
        html: str | None = None,
        **options: Any,
    ) -> Page:
        """With `html` that is what is found at the URL."""
        context = (browser or launch(FAKE_DEVICES, GRANT)).new_context(
            permissions=permissions, **options
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUT)
        context.add_init_script(SMALL_PICTURES)
        page = context.new_page()
        page.on("console", lambda it: heard.append(it.text) if it.type == "error" else None)
        page.on("pageerror", lambda error: heard.append(str(error)))
        if html is not None:
            at = re.compile(re.escape(url.partition("#")[0]))
            page.route(at, lambda route: route.fulfill(body=html, content_type="text/html"))
        page.goto(url)
        return page

    yield open_tab
    for context in contexts:
        context.close()
    check(complaints, heard)


def check(complaints: list[str], heard: list[str]) -> None:
    unexpected = [text for text in heard if not any(re.search(it, text) for it in complaints)]
    assert not unexpected


@pytest.fixture(scope="module")
def firefox() -> Iterator[Firefox]:
    """A Firefox for all tests of a file: two browsers at once are much for a small machine."""
    if FIREFOX is None:
        pytest.fail("Firefox is missing, and CI does not do without: apt install firefox-esr")
    with running_firefox(FIREFOX, TIMEOUT / 1000, SMALL_PICTURES) as firefox:
        yield firefox


@pytest.fixture
def open_firefox_tab(firefox: Firefox, complaints: list[str]) -> Iterator[OpenFirefoxTab]:
    """As `open_tab`, in Firefox, and always with the HTML that is at the URL."""
    tabs: list[FirefoxTab] = []

    def open_firefox_tab(url: str, html: str) -> FirefoxTab:
        tabs.append(firefox.open(url, html))
        return tabs[-1]

    yield open_firefox_tab
    for tab in tabs:
        tab.close()
    check(complaints, [text for tab in tabs for text in tab.complaints])


@pytest.fixture
def demo(server: ServerProcess) -> str:
    """Where the demo is."""
    return url_of(server)


def url_of(server: ServerProcess) -> str:
    """By the name that browsers trust with a camera."""
    return f"http://localhost:{server.port}/"
