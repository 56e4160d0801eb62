"""The ICE servers that are taken as they stand, and the errors for those that are refused."""

import pytest

from config.config import Config, ConfigError
from tests.config.ice_servers import ACCEPTED, NOT_JSON, REFUSED, REFUSED_HERE


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_a_browser_takes_is_kept_as_it_stands(text: str) -> None:
    assert Config.from_environ({"SIGNALING_ICE_SERVERS": text}).ice_servers == text


@pytest.mark.parametrize(
    ("text", "reason"), REFUSED + REFUSED_HERE + NOT_JSON, ids=lambda it: it[:60]
)
def test_what_a_browser_throws_on_is_explained_without_showing_it(text: str, reason: str) -> None:
    """One line has the variable and the reason, but no value, which may be a credential."""
    with pytest.raises(ConfigError) as error:
        Config.from_environ({"SIGNALING_ICE_SERVERS": text or " "})
    line = str(error.value)
    assert line.startswith("SIGNALING_ICE_SERVERS=... is not a list of ICE servers in JSON: ")
    assert reason in line
    assert len(line.splitlines()) == 1
    assert "s3cret" not in line


def test_credentials_are_not_shown() -> None:
    assert "s3cret" not in repr(Config(ice_servers='[{"urls":"turn:a","credential":"s3cret"}]'))
