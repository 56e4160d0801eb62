"""The settings: which source takes precedence, and which values are refused."""

import os
from ipaddress import ip_network
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
        max_buffered=0,
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
    """`PORT` and those of Redis are the original's names; the other variables have the prefix."""
    assert list(variables()) == [
        "PORT",
        "SIGNALING_MAX_MESSAGE_SIZE",
        "SIGNALING_MAX_ROOM_NAME",
        "SIGNALING_MAX_SEND_BUFFER",
        "SIGNALING_MAX_BUFFERED",
        "SIGNALING_HANDSHAKE_TIMEOUT",
        "SIGNALING_IDLE_TIMEOUT",
        "SIGNALING_KEEPALIVE_INTERVAL",
        "SIGNALING_PING_INTERVAL",
        "SIGNALING_PING_TIMEOUT",
        "SIGNALING_SHUTDOWN_TIMEOUT",
        "SIGNALING_TLS_CERT",
        "SIGNALING_TLS_KEY",
        "SIGNALING_TRANSPORT",
        "SIGNALING_LOG_LEVEL",
        "SIGNALING_ICE_SERVERS",
        "SIGNALING_TURN_URLS",
        "SIGNALING_TURN_SECRET",
        "SIGNALING_TURN_TTL",
        "SIGNALING_ALLOWED_ORIGINS",
        "SIGNALING_AUTH_SECRETS",
        "SIGNALING_AUTH_PUBLIC_KEYS",
        "SIGNALING_AUTH_ISSUER",
        "SIGNALING_AUTH_AUDIENCE",
        "SIGNALING_MAX_CONNECTIONS",
        "SIGNALING_MAX_CONNECTIONS_PER_ADDRESS",
        "SIGNALING_CONNECTION_RATE",
        "SIGNALING_BYTE_RATE",
        "SIGNALING_TRUSTED_PROXIES",
        "SIGNALING_MAX_ROOM_SIZE",
        "REDIS_URL",
        "REDIS_HOST",
        "REDIS_PORT",
        "REDIS_USERNAME",
        "REDIS_PASSWORD",
        "REDIS_DB",
        "SIGNALING_CLUSTER_PREFIX",
        "SIGNALING_CLUSTER_LEASE",
        "SIGNALING_WORKERS",
    ]
    others = {
        "REDIS_URL": "redis://r",
        "SIGNALING_TRANSPORT": "auto",
        "SIGNALING_LOG_LEVEL": "DEBUG",
        "SIGNALING_ICE_SERVERS": "[]",
        "SIGNALING_TURN_URLS": "turn:t",
        "SIGNALING_ALLOWED_ORIGINS": "null",
        "SIGNALING_AUTH_SECRETS": "7" * 32,
        "SIGNALING_WORKERS": "1",
        "SIGNALING_BYTE_RATE": "0",
        "SIGNALING_TRUSTED_PROXIES": "::1",
        "SIGNALING_SHUTDOWN_TIMEOUT": "2",
    }
    config = Config.from_environ(dict.fromkeys(variables(), "7") | others)
    assert config == Config(
        *("0.0.0.0", 7, 7, 7, 7, 7, 7.0, 7.0, 7.0, 7.0, 7.0, 2.0, "7", "7", "auto", "DEBUG"),
        ice_servers="[]",
        turn_urls=("turn:t",),
        turn_secret="7",
        turn_ttl=7,
        allowed_origins="null",
        auth_secrets=("7" * 32,),
        auth_public_keys="7",
        auth_issuer="7",
        auth_audience="7",
        max_connections=7,
        max_connections_per_address=7,
        connection_rate=7,
        trusted_proxies=(ip_network("::1"),),
        max_room_size=7,
        redis_url="redis://r",
        redis_host="7",
        redis_port=7,
        redis_username="7",
        redis_password="7",
        redis_db=7,
        cluster_prefix="7",
        cluster_lease=7.0,
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
        ("SIGNALING_SHUTDOWN_TIMEOUT", "5.1"),
        ("SIGNALING_MAX_MESSAGE_SIZE", "0"),
        ("SIGNALING_MAX_MESSAGE_SIZE", "1.5"),
        ("SIGNALING_MAX_MESSAGE_SIZE", "1e3"),
        ("SIGNALING_MAX_ROOM_NAME", "none"),
        ("SIGNALING_MAX_SEND_BUFFER", "4MiB"),
        ("SIGNALING_HANDSHAKE_TIMEOUT", "0"),
        ("SIGNALING_HANDSHAKE_TIMEOUT", "1_0"),
        ("SIGNALING_KEEPALIVE_INTERVAL", "inf"),
        ("SIGNALING_PING_INTERVAL", "nan"),
        ("SIGNALING_PING_INTERVAL", "1e999"),
        ("SIGNALING_PING_TIMEOUT", "-1"),
        ("SIGNALING_SHUTDOWN_TIMEOUT", "1s"),
        ("SIGNALING_TRANSPORT", "udp"),
        ("SIGNALING_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_value_that_cannot_be_names_its_variable_on_one_line(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}='{value}' is not (a|one of) .+$"):
        Config.from_environ({name: value})
    with pytest.raises(ConfigError, match=name):
        Config.from_environ({name: value}, port=1)


def test_a_pong_cannot_be_waited_for_longer_than_until_the_next_ping() -> None:
    with pytest.raises(ConfigError, match=r"SIGNALING_PING_TIMEOUT .* SIGNALING_PING_INTERVAL"):
        Config.from_environ({"SIGNALING_PING_INTERVAL": "5", "SIGNALING_PING_TIMEOUT": "6"})


def test_a_short_ping_interval_shortens_the_default_ping_timeout() -> None:
    config = Config.from_environ({"SIGNALING_PING_INTERVAL": "5"})
    assert (config.ping_interval, config.ping_timeout) == (5.0, 5.0)
    assert Config.from_environ({"SIGNALING_PING_INTERVAL": "60"}).ping_timeout == 20.0


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("DEBUG", "DEBUG"),
        ("Info", "INFO"),
        ("warning", "WARNING"),
        ("eRRor", "ERROR"),
        ("critical", "CRITICAL"),
        # Other programs call the levels like this.
        ("trace", "DEBUG"),
        ("WARN", "WARNING"),
        ("Fatal", "CRITICAL"),
    ],
)
def test_log_levels_are_read_in_any_case(text: str, level: str) -> None:
    assert Config.from_environ({"SIGNALING_LOG_LEVEL": text}).log_level == level


# Names with the prefix and without it


def test_a_variable_without_the_prefix_is_for_another_program() -> None:
    names = [name for name in variables() if name.startswith("SIGNALING_")]
    environ = {name.removeprefix("SIGNALING_"): "?" for name in names} | {"PORT": "1"}
    assert Config.from_environ(environ) == Config(port=1)


# Redis


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, ""),
        ({"REDIS_PORT": "1"}, ""),
        ({"REDIS_HOST": "redis"}, "redis://redis:6379/0"),
        ({"REDIS_HOST": "::1", "REDIS_PORT": "1", "REDIS_DB": "2"}, "redis://[::1]:1/2"),
        # As Kubernetes sets it for a Service named `redis`.
        ({"REDIS_HOST": "r", "REDIS_PORT": "tcp://10.0.0.1:1"}, "redis://r:1/0"),
        ({"REDIS_HOST": "r", "REDIS_PASSWORD": "a/b@c:d"}, "redis://:a%2Fb%40c%3Ad@r:6379/0"),
        ({"REDIS_HOST": "r", "REDIS_USERNAME": "u"}, "redis://u:@r:6379/0"),
        ({"REDIS_HOST": "r", "REDIS_URL": "rediss://u:p@s:1/3"}, "rediss://u:p@s:1/3"),
        ({"REDIS_URL": "unix:///run/redis.sock"}, "unix:///run/redis.sock"),
    ],
)
def test_where_redis_is(environ: dict[str, str], url: str) -> None:
    """A URL takes the place of the parts."""
    assert Config.from_environ(environ).redis == url


@pytest.mark.parametrize(
    "url",
    [
        "secret",
        "http://secret",
        "redis://:secret@",
        "redis://:secret@r:0",
        "unix://",
        "redis://secret:x",
        "redis://:secret@r/x",
    ],
)
def test_an_invalid_url_is_not_shown(url: str) -> None:
    """It may have a password."""
    with pytest.raises(ConfigError, match=r"^REDIS_URL=\.\.\. is not redis://") as raised:
        Config.from_environ({"REDIS_URL": url})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("host", ["u:secret@r", "redis://secret", "secret:6379", "[::1", "a b"])
def test_an_invalid_host_is_not_shown(host: str) -> None:
    """It may have a password too, where somebody has taken it for the URL."""
    with pytest.raises(ConfigError, match=r"^REDIS_HOST=\.\.\. is not the name") as raised:
        Config.from_environ({"REDIS_HOST": host})
    assert "secret" not in str(raised.value)


def test_passwords_are_not_in_the_representation() -> None:
    config = Config(redis_url="redis://:secret@r", redis_password="secret")
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("SIGNALING_LOGLEVEL", "SIGNALING_LOG_LEVEL"),
        ("SIGNALING_LOG_LEVLE", "SIGNALING_LOG_LEVEL"),
        ("SIGNALING_MAX_ROOM_NAME_LENGTH", "SIGNALING_MAX_ROOM_NAME"),
        ("SIGNALING_ICE_SERVER", "SIGNALING_ICE_SERVERS"),
        ("SIGNALING_PORT", "PORT"),
        ("SIGNALING_log_level", "SIGNALING_LOG_LEVEL"),
        ("SIGNALING_\nPORT", "PORT"),
    ],
)
def test_an_unknown_variable_with_the_prefix_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean {nearest}\\?$") as error:
        Config.from_environ({name: "1"})
    assert str(error.value).startswith(f"{name!r} is not a setting; ")


@pytest.mark.parametrize("name", ["SIGNALING_", "SIGNALING_漢"])
def test_an_unknown_variable_that_is_near_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name!r} is not a setting"):
        Config.from_environ({name: "1"})


def test_an_unknown_variable_that_is_empty_counts_as_not_set() -> None:
    assert Config.from_environ({"SIGNALING_NOTHING": ""}) == Config()


@pytest.mark.parametrize("service", ["SIGNALING", "SIGNALING_REDIS", "SIGNALING_2"])
def test_what_kubernetes_says_of_a_service_is_no_setting(service: str) -> None:
    """Kubernetes tells every container beside it of a Service `signaling` or `signaling-…`."""
    environ = {
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "5000",
        f"{service}_SERVICE_PORT_HTTP_1": "5000",
        f"{service}_PORT": "tcp://10.0.0.1:5000",
        f"{service}_PORT_5000_TCP": "tcp://10.0.0.1:5000",
        f"{service}_PORT_5000_TCP_PROTO": "tcp",
        f"{service}_PORT_5000_TCP_PORT": "5000",
        f"{service}_PORT_5000_TCP_ADDR": "10.0.0.1",
        f"{service}_PORT_5000_UDP": "udp://[fd00::1]:5000",
    }
    assert Config.from_environ(environ) == Config()


# The file


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, with an environment in which no setting is set."""
    monkeypatch.chdir(tmp_path)
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_environment_beats_the_env_file(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds even for an empty variable: as in godotenv, the environment is not replaced."""
    (directory / ".env").write_text("PORT=1\nSIGNALING_MAX_ROOM_NAME: 2\nexport A=$PORT\nB=3\n")
    monkeypatch.setenv("PORT", "4")
    monkeypatch.setenv("B", "")
    environ = init_env()
    assert environ["SIGNALING_MAX_ROOM_NAME"] == "2"
    assert (environ["PORT"], environ["A"], environ["B"]) == ("4", "1", "")
    assert os.environ.get("SIGNALING_MAX_ROOM_NAME") is None


def test_no_env_file_adds_nothing(directory: Path) -> None:
    assert init_env() == dict(os.environ)


@pytest.mark.parametrize("quote", ["", "'"])
def test_ice_servers_in_the_env_file(quote: str, directory: Path) -> None:
    """JSON on one line needs no quotes in the file, and may have single ones."""
    text = '[{"urls": ["stun:a", "turn:b"], "username": "alice", "credential": "s3cret"}]'
    (directory / ".env").write_text(f"SIGNALING_ICE_SERVERS={quote}{text}{quote}\n")
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
