"""The settings: what beats what, and what is refused."""

from dataclasses import fields
from pathlib import Path

import msgspec
import pytest

from config.config import Config, ConfigError, IceServer, init_env


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
        ice_servers=(IceServer(urls="stun:stun.l.google.com:19302"),),
        demo=False,
    )


def test_every_setting_but_the_address_and_the_demo_has_a_variable() -> None:
    environ = {field.name.upper(): "7" for field in fields(Config)} | {
        "SHUTDOWN_TIMEOUT": "5",
        "TRANSPORT": "tornado",
        "LOG_LEVEL": "DEBUG",
        "ICE_SERVERS": '[{"urls":"stun:seven"}]',
        "DEMO": "true",
    }
    config = Config.from_environ(environ)
    assert config == Config(
        *("0.0.0.0", 7, 7, 7, 7, 7.0, 7.0, 7.0, 7.0, 7.0, 5.0, "tornado", "DEBUG"),
        ice_servers=(IceServer("stun:seven"),),
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
        ("SHUTDOWN_TIMEOUT", "5.1"),
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


TURN = '"username":"alice","credential":"s3cret"'


@pytest.mark.parametrize(
    ("text", "ice_servers"),
    [
        ("[]", ()),
        ('[{"urls":"stun:a.example"}]', (IceServer("stun:a.example"),)),
        (' [ {"urls": ["stun:a", "stuns:b:443"]} ] ', (IceServer(("stun:a", "stuns:b:443")),)),
        (
            f'[{{"urls":"turn:[::1]:3478?transport=udp",{TURN}}}]',
            (IceServer("turn:[::1]:3478?transport=udp", "alice", "s3cret"),),
        ),
        (
            f'[{{"urls":["stun:a","turns:192.0.2.1"],{TURN}}},{{"urls":"stun:b"}}]',
            (IceServer(("stun:a", "turns:192.0.2.1"), "alice", "s3cret"), IceServer("stun:b")),
        ),
    ],
    ids=["none", "one", "more-urls", "turn", "more-servers"],
)
def test_ice_servers_are_read_as_a_browser_takes_them(
    text: str, ice_servers: tuple[IceServer, ...]
) -> None:
    """They are what RTCConfiguration.iceServers is, in JSON; a browser is given the same again."""
    config = Config.from_environ({"ICE_SERVERS": text})
    assert config.ice_servers == ice_servers
    assert msgspec.json.decode(msgspec.json.encode(ice_servers)) == msgspec.json.decode(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("stun:a", "malformed"),
        ('[{"urls":"stun:a"}', "truncated"),
        ('{"urls":"stun:a"}', "Expected `array`"),
        ('["stun:a"]', "Expected `object`"),
        ("[{}]", "missing required field `urls`"),
        ('[{"url":"stun:a"}]', "unknown field `url`"),
        ('[{"urls":"stun:a","user\\nname":"a"}]', "unknown field `user name`"),
        ('[{"urls":[]}]', "length >= 1"),
        ('[{"urls":[1]}]', "Expected `str`"),
        ('[{"urls":"http://a"}]', "URL"),
        ('[{"urls":"stun:"}]', "URL"),
        ('[{"urls":"stun:a:0"}]', "URL"),
        ('[{"urls":"stun:a:65536"}]', "URL"),
        ('[{"urls":"stun:a?transport=udp"}]', "URL"),
        ('[{"urls":["stun:a","stun://b"]}]', "URL"),
        (f'[{{"urls":"turn:s3cret@a",{TURN}}}]', "URL"),
        (f'[{{"urls":"turn:a?transport=s3cret",{TURN}}}]', "URL"),
        ('[{"urls":"turn:a"}]', "`username` and `credential`"),
        ('[{"urls":"turns:a","username":"alice"}]', "`username` and `credential`"),
        ('[{"urls":["stun:a","turn:b"],"credential":"s3cret"}]', "`username` and `credential`"),
        ('[{"urls":"turn:a","username":"","credential":"s3cret"}]', "`username` and `credential`"),
        ('[{"urls":"stun:a","username":1,"credential":"s3cret"}]', "Expected `str`"),
        ('[{"urls":"stun:a","username":null,"credential":"s3cret"}]', "Expected `str`"),
        ('["s3cret\udcff"]', "utf-8"),
    ],
)
def test_bad_ice_servers_are_explained_without_showing_them(text: str, reason: str) -> None:
    """One line has the variable and what is wrong, but no value: that may be a credential."""
    with pytest.raises(ConfigError) as error:
        Config.from_environ({"ICE_SERVERS": text})
    line = str(error.value)
    assert line.startswith("ICE_SERVERS=... is not ")
    assert reason in line
    assert len(line.splitlines()) == 1
    assert "s3cret" not in line


def test_credentials_are_not_shown() -> None:
    config = Config(ice_servers=(IceServer("turn:a", "alice", "s3cret"),))
    assert "turn:a" in repr(config)
    assert "alice" not in repr(config)
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize("quote", ["", "'"])
def test_ice_servers_in_the_env_file(
    quote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON on one line needs no quotes there, and may have single ones."""
    text = f'[{{"urls": ["stun:a", "turn:b"], {TURN}}}]'
    (tmp_path / ".env").write_text(f"ICE_SERVERS={quote}{text}{quote}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ICE_SERVERS", raising=False)
    servers = (IceServer(("stun:a", "turn:b"), "alice", "s3cret"),)
    assert Config.from_environ(init_env()).ice_servers == servers


def test_the_environment_beats_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PORT=1\nMAX_ROOM_NAME: 2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "3")
    monkeypatch.delenv("MAX_ROOM_NAME", raising=False)
    environ = init_env()
    assert (environ["PORT"], environ["MAX_ROOM_NAME"]) == ("3", "2")


def test_an_env_file_that_cannot_be_read_is_named_with_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PORT=1\n\nNOTHING\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^\.env, line 3: no = or : after the name$"):
        init_env()


def test_an_env_file_that_is_a_directory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^cannot read \.env: [^\n]+$"):
        init_env()
