"""The settings: what beats what, and what is refused."""

import os
from pathlib import Path

import pytest

from config.config import Config, ConfigError, init_env, variables


def test_the_defaults_are_those_of_the_contract() -> None:
    assert Config.from_environ({}) == Config()
    assert Config() == Config(
        addr="0.0.0.0",
        port=5000,
        max_message_size=1024 * 1024,
        max_room_name=255,
        max_send_buffer=4 * 1024 * 1024,
        handshake_timeout=10.0,
        idle_timeout=75.0,
        keepalive_interval=30.0,
        ping_interval=30.0,
        ping_timeout=20.0,
        shutdown_timeout=3.0,
        transport="auto",
        log_level="INFO",
        ice_servers='[{"urls":"stun:stun.l.google.com:19302"}]',
        demo=False,
    )


def test_every_setting_but_the_address_and_the_demo_has_a_variable() -> None:
    assert list(variables()) == [
        "PORT",
        "MAX_MESSAGE_SIZE",
        "MAX_ROOM_NAME",
        "MAX_SEND_BUFFER",
        "HANDSHAKE_TIMEOUT",
        "IDLE_TIMEOUT",
        "KEEPALIVE_INTERVAL",
        "PING_INTERVAL",
        "PING_TIMEOUT",
        "SHUTDOWN_TIMEOUT",
        "TRANSPORT",
        "LOG_LEVEL",
        "ICE_SERVERS",
    ]
    others = {
        "TRANSPORT": "tornado",
        "LOG_LEVEL": "DEBUG",
        "ICE_SERVERS": "[]",
        "SHUTDOWN_TIMEOUT": "2",
    }
    config = Config.from_environ(dict.fromkeys(variables(), "7") | others)
    assert config == Config(
        *("0.0.0.0", 7, 7, 7, 7, 7.0, 7.0, 7.0, 7.0, 7.0, 2.0, "tornado", "DEBUG"), ice_servers="[]"
    )


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
        ("PORT", "0.0"),
        ("PORT", "5e1"),
        ("PORT", "0x10"),
        ("PORT", "5_000"),
        ("PORT", "true"),
        ("PORT", "٣"),
        ("SHUTDOWN_TIMEOUT", "5.1"),
        ("MAX_MESSAGE_SIZE", "0"),
        ("MAX_MESSAGE_SIZE", "1.5"),
        ("MAX_MESSAGE_SIZE", "1e3"),
        ("MAX_ROOM_NAME", "none"),
        ("MAX_SEND_BUFFER", "4MiB"),
        ("HANDSHAKE_TIMEOUT", "0"),
        ("HANDSHAKE_TIMEOUT", "1_0"),
        ("KEEPALIVE_INTERVAL", "inf"),
        ("PING_INTERVAL", "nan"),
        ("PING_INTERVAL", "1e999"),
        ("PING_TIMEOUT", "-1"),
        ("SHUTDOWN_TIMEOUT", "1s"),
        ("TRANSPORT", "udp"),
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


# The file


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with an environment that has no setting."""
    monkeypatch.chdir(tmp_path)
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_environment_beats_the_env_file(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when it says nothing: as in godotenv, what is there is not replaced."""
    (directory / ".env").write_text("PORT=1\nMAX_ROOM_NAME: 2\nexport A=$PORT\nB=3\n")
    monkeypatch.setenv("PORT", "4")
    monkeypatch.setenv("B", "")
    environ = init_env()
    assert environ["MAX_ROOM_NAME"] == "2"
    assert (environ["PORT"], environ["A"], environ["B"]) == ("4", "1", "")
    assert os.environ.get("MAX_ROOM_NAME") is None


def test_no_env_file_adds_nothing(directory: Path) -> None:
    assert init_env() == dict(os.environ)


@pytest.mark.parametrize("quote", ["", "'"])
def test_ice_servers_in_the_env_file(quote: str, directory: Path) -> None:
    """JSON on one line needs no quotes there, and may have single ones."""
    text = '[{"urls": ["stun:a", "turn:b"], "username": "alice", "credential": "s3cret"}]'
    (directory / ".env").write_text(f"ICE_SERVERS={quote}{text}{quote}\n")
    assert Config.from_environ(init_env()).ice_servers == text


def test_an_env_file_that_cannot_be_read_is_named_with_the_line(directory: Path) -> None:
    (directory / ".env").write_text("PORT=1\n\nNOTHING\n")
    with pytest.raises(ConfigError, match=r"^\.env, line 3: no = or : after the name$"):
        init_env()


def test_an_env_file_that_is_a_directory_is_named(directory: Path) -> None:
    (directory / ".env").mkdir()
    with pytest.raises(ConfigError, match=r"^cannot read \.env: [^\n]+$"):
        init_env()


def test_an_env_file_that_cannot_be_opened_is_named(directory: Path) -> None:
    (directory / ".env").symlink_to(".env")
    with pytest.raises(ConfigError, match=r"^cannot read \.env: "):
        init_env()
