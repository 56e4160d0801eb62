"""The clients in the README, in a browser and with the demo page."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenTab, url_of
from tests.browser.test_sdk import plays
from tests.support.server_process import ServerProcess, server_process
from tests.test_readme import blocks
from tests.webrtc.test_readme import write_client

OTHERS = "video:not(#me)"


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    """Run a server for this file, as all the README's clients join the same room."""
    with server_process("-demo", env={"SIGNALING_ICE_SERVERS": "[]"}) as server:
        yield server


@pytest.fixture
def page(server: ServerProcess, tmp_path: Path) -> str:
    """Return the URL of a file with the README's page, changed for the server of this test."""
    (html,) = blocks("html")
    assert html.count("ws://localhost:5000/") == 1
    path = tmp_path / "call.html"
    path.write_text(html.replace("localhost:5000", f"localhost:{server.port}"), encoding="utf-8")
    return path.as_uri()


def in_demo_room(open_tab: OpenTab, server: ServerProcess) -> Page:
    """Open the demo and join the room that it proposes."""
    demo = open_tab(url_of(server))
    demo.locator("#join").click()
    expect(demo.locator("#call")).to_be_visible()
    return demo


def test_the_page_makes_calls(open_tab: OpenTab, page: str) -> None:
    """Each of three tabs with the file plays the two others, until they leave."""
    tabs = [open_tab(page) for _ in range(3)]
    for tab in tabs:
        expect(tab.locator(OTHERS)).to_have_count(2)
        for client_id in tab.locator(OTHERS).evaluate_all("all => all.map(({ id }) => id)"):
            plays(tab, f"[id='{client_id}']")
    tabs.pop().close()
    for tab in tabs:
        expect(tab.locator(OTHERS)).to_have_count(1)


@pytest.mark.parametrize("page_first", [True, False])
def test_the_page_and_the_demo_call_each_other(
    open_tab: OpenTab, server: ServerProcess, page: str, page_first: bool
) -> None:
    """The page and the demo are in the same room and connect, whoever comes first."""
    if page_first:
        tab = open_tab(page)
        server.wait_for_line("joined room 'demo'")
        demo = in_demo_room(open_tab, server)
    else:
        demo = in_demo_room(open_tab, server)
        tab = open_tab(page)
    plays(tab, OTHERS)
    plays(demo, '.tile[data-state="connected"]:not([data-client-id="me"]) video')
    demo.close()
    expect(tab.locator(OTHERS)).to_have_count(0)


@pytest.mark.parametrize("python_first", [True, False])
def test_the_demo_shows_the_python_client(
    open_tab: OpenTab, server: ServerProcess, tmp_path: Path, python_first: bool
) -> None:
    """The client appears in the demo by name, and each reads what the other writes in the chat."""
    script = tmp_path / "client.py"
    write_client(script, server.url)
    demo = None if python_first else in_demo_room(open_tab, server)
    with subprocess.Popen(
        [sys.executable, "-u", str(script)], stdout=subprocess.PIPE, text=True
    ) as client:
        try:
            server.wait_for_line("joined room 'demo'")
            demo = demo or in_demo_room(open_tab, server)
            tile = demo.locator('.tile[data-state="connected"]:not([data-client-id="me"])')
            expect(tile.locator(".tile-name")).to_have_text("Python")
            demo.locator("#chat-toggle").click()
            expect(demo.locator("#chat-log")).to_contain_text("Hello from Python")
            demo.locator("#chat-input").fill("Hello from the demo")
            demo.locator("#chat-input").press("Enter")
            assert client.stdout
            assert client.stdout.readline() == "Hello from the demo\n"
        finally:
            client.kill()
    expect(tile).to_have_count(0)
