"""Chromium and Firefox, with tabs that report the errors of their pages."""

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

# Chromium's sandbox does not work for root or in a container, and the pages are the project's own.
# The other flags keep the browser from looking for anything beyond this machine.
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
# This gives a moving picture, and a beep every second.
FAKE_DEVICES = "--use-fake-device-for-media-stream=fps=5"
GRANT = "--use-fake-ui-for-media-stream"  # This also picks a screen to share.
REFUSE = "--deny-permission-prompts"

# Every tab encodes its picture for every other tab, and all of them share one machine.
SMALL_PICTURES = """
const { mediaDevices } = navigator;
const getUserMedia = mediaDevices?.getUserMedia.bind(mediaDevices);
if (mediaDevices) mediaDevices.getUserMedia = (wish) =>
  getUserMedia({ ...wish, video: wish.video && { width: 160, height: 120 } });
"""

TIMEOUT = 10_000  # The time for anything that a test waits for, in milliseconds.

OpenTab = Callable[..., Page]
OpenFirefoxTab = Callable[[str, str], FirefoxTab]
Launch = Callable[..., Browser]


NEEDED = {  # By path: the browser, if it is found, and how to get it. In CI none may be missing.
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
    """Return None, since Playwright runs an event loop of its own."""


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    if CHROMIUM is None:
        pytest.fail("Chromium is missing, and CI needs it: apt install chromium")
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def launch(playwright: Playwright) -> Iterator[Launch]:
    """Return a function that starts a browser with more flags, or returns one that has the same."""
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
    """Run `main.py -demo` without ICE servers, since the tabs find each other on this machine."""
    with server_process("-demo", env={"SIGNALING_ICE_SERVERS": "[]"}) as server:
        yield server


@pytest.fixture
def complaints() -> list[str]:
    """Return patterns of errors that a test expects its pages to log. The test may add to them."""
    return []


@pytest.fixture
def open_tab(launch: Launch, complaints: list[str]) -> Iterator[OpenTab]:
    """Return a function that opens a URL in a tab of its own. All tabs are closed in the end.

    The test fails if a page logs an error, breaks its Content-Security-Policy, or has an error or a
    rejected promise that nobody handles, unless the test expects it.
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
        """Open the URL, at which `html` is found if it is given."""
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
    """Start a Firefox for all tests of a file: two at once are much for a small machine."""
    if FIREFOX is None:
        pytest.fail("Firefox is missing, and CI needs it: apt install firefox-esr")
    with running_firefox(FIREFOX, TIMEOUT / 1000, SMALL_PICTURES) as firefox:
        yield firefox


@pytest.fixture
def open_firefox_tab(firefox: Firefox, complaints: list[str]) -> Iterator[OpenFirefoxTab]:
    """Return a function like `open_tab`'s for Firefox, which is always given the HTML."""
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
    """Return the URL of the demo."""
    return url_of(server)


def url_of(server: ServerProcess) -> str:
    """Return a server's URL with `localhost`, which browsers trust with a camera."""
    return f"http://localhost:{server.port}/"
