"""The settings: what beats what, and what is refused."""

from dataclasses import fields
from pathlib import Path

import pytest

from config.config import Config, ConfigError, init_env


def test_the_defaults_are_those_of_the_contract() -> None:
    assert Config.from_environ({}) == Config()
    assert Config() == Config(
        addr="0.0.0.0",
        port=5000,
        max_message_size=1024 * 1024,
        max_room_name=255,
        max_send_buffer=4 * 1024 * 1024,
        handshake_timeout=10.0,
        keepalive_interval=30.0,
        ping_interval=30.0,
        ping_timeout=20.0,
        shutdown_timeout=3.0,
        transport="auto",
        log_level="INFO",
    )


def test_every_setting_but_the_address_has_a_variable() -> None:
    environ = {field.name.upper(): "7" for field in fields(Config)} | {
        "TRANSPORT": "tornado",
        "LOG_LEVEL": "DEBUG",
    }
    config = Config.from_environ(environ)
    assert config == Config("0.0.0.0", 7, 7, 7, 7, 7.0, 7.0, 7.0, 7.0, 7.0, "tornado", "DEBUG")


def test_a_flag_beats_the_environment_which_beats_the_default() -> None:
    assert Config.from_environ({"PORT": "1"}, port=2).port == 2
    assert Config.from_environ({"PORT": "1"}).port == 1
    assert Config.from_environ({"PORT": ""}).port == 5000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", " 1"),
        ("MAX_MESSAGE_SIZE", "0"),
        ("MAX_MESSAGE_SIZE", "1.5"),
        ("MAX_ROOM_NAME", "none"),
        ("MAX_SEND_BUFFER", "4MiB"),
        ("HANDSHAKE_TIMEOUT", "0"),
        ("KEEPALIVE_INTERVAL", "inf"),
        ("PING_INTERVAL", "nan"),
        ("PING_TIMEOUT", "-1"),
        ("SHUTDOWN_TIMEOUT", "1s"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_value_that_cannot_be_names_its_variable_on_one_line(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}='{value}' is not (a|one of) .+$"):
        Config.from_environ({name: value})
    with pytest.raises(ConfigError, match=name):
        Config.from_environ({name: value}, port=1)


def test_a_pong_cannot_be_waited_for_longer_than_until_the_next_ping() -> None:
    with pytest.raises(ConfigError, match=r"PING_TIMEOUT .* PING_INTERVAL"):
        Config.from_environ({"PING_INTERVAL": "5", "PING_TIMEOUT": "6"})


def test_a_short_ping_interval_shortens_the_default_ping_timeout() -> None:
    config = Config.from_environ({"PING_INTERVAL": "5"})
    assert (config.ping_interval, config.ping_timeout) == (5.0, 5.0)
    assert Config.from_environ({"PING_INTERVAL": "60"}).ping_timeout == 20.0


def test_choices_are_read_in_any_case() -> None:
    assert Config.from_environ({"LOG_LEVEL": "debug"}).log_level == "DEBUG"


def test_the_environment_beats_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PORT=1\nMAX_ROOM_NAME=2\nNOTHING\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "3")
    monkeypatch.delenv("MAX_ROOM_NAME", raising=False)
    environ = init_env()
    assert (environ["PORT"], environ["MAX_ROOM_NAME"]) == ("3", "2")
    assert "NOTHING" not in environ


def test_an_unreadable_env_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_bytes(b"PORT=\xff\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^\.env: "):
        init_env()
