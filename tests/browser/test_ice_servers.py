"""The ICE servers that the setting takes are those that a browser takes.

The tables are those of the unit tests, so that they cannot drift from what Chromium does.
"""

import pytest

from tests.browser.conftest import OpenTab
from tests.config.ice_servers import ACCEPTED, REFUSED, REFUSED_HERE

TRY = """(json) => {
  try {
    new RTCPeerConnection({ iceServers: JSON.parse(json) }).close();
    return true;
  } catch {
    return false;
  }
}"""


@pytest.mark.parametrize(
    ("texts", "taken"),
    [
        (ACCEPTED, True),
        ([text for text, _ in REFUSED], False),
        ([text for text, _ in REFUSED_HERE], True),
    ],
    ids=["accepted", "refused", "refused-here"],
)
def test_chromium_agrees(texts: list[str], taken: bool, open_tab: OpenTab) -> None:
    """Chromium makes a connection with each list that the setting takes, and throws on the others.

    The lists that only the setting refuses are known, and Chromium does take them.
    """
    tab = open_tab("http://page.example/", html="<p>")
    assert [text for text in texts if tab.evaluate(TRY, text) != taken] == []
