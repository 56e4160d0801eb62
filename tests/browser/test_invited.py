"""The demo page with a server that asks for tokens, or turns the user away for another reason."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenTab
from tests.browser.gatekeeper import (
    FORBIDDEN_ORIGIN,
    FULL,
    TOKEN_EXPIRED,
    UNAUTHORIZED,
    Gatekeeper,
    Refusal,
    running_gatekeeper,
)
from tests.browser.test_call import enter, members
from tests.browser.test_connection import REFUSED


@pytest.fixture
def gate() -> Iterator[Gatekeeper]:
    """Run a server that lets in only those with a good token."""
    with running_gatekeeper() as gate:
        gate.refuses = lambda token: None if token in GOOD else UNAUTHORIZED
        yield gate


GOOD = ("e30.e30.first", "e30.e30.other_-")


def test_a_link_with_a_token(gate: Gatekeeper, open_tab: OpenTab) -> None:
    """It names the room, and its token lets the user in, now and after a reload."""
    page = open_tab(f"{gate.url}#caf%C3%A9%20%26&token={GOOD[1]}")
    expect(page.locator("#lobby h1")).to_have_text("Join café &")
    page.locator("#join").click()
    expect(page.locator("#call h1")).to_have_text("café &")
    page.reload()
    page.locator("#join").click()
    expect(page.locator("#call h1")).to_have_text("café &")
    assert set(gate.handshakes) == {GOOD[1]}
    assert set(gate.asked) == {GOOD[1]}


def test_a_token_is_not_passed_on(gate: Gatekeeper, open_tab: OpenTab) -> None:
    """It is neither in the address, nor in the link for others, nor where other tabs find it."""
    page = open_tab(f"{gate.url}#room&token={GOOD[0]}")
    requests: list[str] = []
    page.on("request", lambda it: requests.append(f"{it.url} {it.headers.get('referer')}"))
    assert page.url == f"{gate.url}#room"
    enter(page, "room")
    assert page.url == f"{gate.url}#room"
    expect(page.locator(".invitation-link")).to_have_text(f"{gate.url}#room")
    expect(page.locator(".invitation-token")).to_be_visible()
    assert GOOD[0] not in page.content()
    assert GOOD[0] not in page.evaluate("JSON.stringify(localStorage)")
    assert GOOD[0] not in page.evaluate("JSON.stringify(history.state)")
    page.reload()
    assert requests
    assert not [it for it in requests if GOOD[0] in it]
    page.context.new_page().goto(f"{gate.url}")
    assert not page.context.pages[-1].evaluate("sessionStorage.length")


def test_another_link_in_the_same_tab(
    gate: Gatekeeper, open_tab: OpenTab, complaints: list[str]
) -> None:
    """Its token takes the place of the first, also when that was not accepted."""
    complaints.append(REFUSED)
    page = open_tab(f"{gate.url}#room&token=bad")
    page.locator("#join").click()
    expect(page.locator("#problem")).to_contain_text("only those who were given a link")
    page.evaluate(f"location.hash = '#other&token={GOOD[0]}'")
    expect(page.locator("#lobby h1")).to_have_text("Join other")
    assert page.url == f"{gate.url}#other"
    page.locator("#join").click()
    expect(page.locator("#call h1")).to_have_text("other")


def test_without_a_token(gate: Gatekeeper, open_tab: OpenTab) -> None:
    """A server that asks for none is sent none, and an ampersand may be part of a room's name."""
    gate.refuses = lambda token: None
    page = open_tab(f"{gate.url}#a&b&token=")
    expect(page.locator("#lobby h1")).to_have_text("Join a&b&token=")
    page.locator("#join").click()
    expect(page.locator("#call h1")).to_have_text("a&b&token=")
    expect(page.locator(".invitation-token")).to_be_hidden()
    assert gate.handshakes == [None]


REASONS = [
    (UNAUTHORIZED, "only those who were given a link"),
    (TOKEN_EXPIRED, "Your link has expired."),
    (FORBIDDEN_ORIGIN, "does not accept calls from pages at http://localhost:"),
    (FULL, "as many connections as it may have"),
]


@pytest.mark.parametrize(("refused", "text"), REASONS)
def test_each_reason_in_the_lobby(
    gate: Gatekeeper, open_tab: OpenTab, complaints: list[str], refused: Refusal, text: str
) -> None:
    """The lobby says it in words, and stays."""
    complaints.append(REFUSED)
    gate.refuses = lambda token: refused
    page = open_tab(f"{gate.url}#room&token=a.b.c")
    page.locator("#join").click()
    expect(page.locator("#problem")).to_contain_text(text)
    expect(page.locator("#join")).to_have_text("Join")


def two(gate: Gatekeeper, open_tab: OpenTab) -> tuple[Page, Page]:
    """Open two tabs that are in a call."""
    tabs = tuple(open_tab(f"{gate.url}#room&token={token}") for token in GOOD)
    for tab in tabs:
        tab.locator("#join").click()
        expect(tab.locator("#call")).to_be_visible()
    for tab in tabs:
        members(tab, 1)
        tab.wait_for_function("signaling.send(null) === 1")
    return tabs[0], tabs[1]


@pytest.mark.parametrize(("refused", "text"), REASONS)
def test_each_reason_in_a_call(
    gate: Gatekeeper, open_tab: OpenTab, complaints: list[str], refused: Refusal, text: str
) -> None:
    """When the client cannot reconnect, the call says why and goes on."""
    complaints.append(REFUSED)
    tabs = two(gate, open_tab)
    gate.refuses = lambda token: refused
    gate.cut()
    for tab in tabs:
        expect(tab.locator("#banner")).to_contain_text(re.compile(f"{text}.*Reconnecting"))
        members(tab, 1)
    gate.refuses = lambda token: None
    for tab in tabs:
        expect(tab.locator("#banner")).to_be_hidden(timeout=30_000)


def test_a_call_that_nobody_is_left_in(
    gate: Gatekeeper, open_tab: OpenTab, complaints: list[str]
) -> None:
    """When the client gives up, the page says why and returns to the lobby."""
    complaints.append(REFUSED)
    page = open_tab(f"{gate.url}#room&token={GOOD[0]}")
    enter(page, "room")
    gate.refuses = lambda token: FORBIDDEN_ORIGIN
    gate.cut()
    expect(page.locator("#status")).to_contain_text("does not accept calls from pages")
    expect(page.locator("#lobby")).to_be_visible()
