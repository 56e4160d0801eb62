"""What can be asked for on the command line, and what is refused."""

import pytest

from bench.__main__ import main
from bench.load import Job, is_loopback
from bench.server import distinct, parse_server
from bench.settings import FULL, QUICK, Settings


def test_a_server_is_a_command_with_a_port() -> None:
    spec = parse_server("python main.py -addr 127.0.0.1 -port {port}")
    assert spec.name == "main.py"
    assert spec.argv == ("python", "main.py", "-addr", "127.0.0.1", "-port", "{port}")
    assert spec.env == {}


def test_leading_assignments_are_the_environment() -> None:
    spec = parse_server("TRANSPORT=tornado LOG='a b' python main.py X=1 {port}")
    assert spec.env == {"TRANSPORT": "tornado", "LOG": "a b"}
    assert spec.argv == ("python", "main.py", "X=1", "{port}")
    assert spec.name == "TRANSPORT=tornado LOG=a b main.py"


def test_a_word_with_a_colon_names_the_server() -> None:
    spec = parse_server("go: PORT={port} ./gosignaling")
    assert (spec.name, spec.env, spec.argv) == ("go", {"PORT": "{port}"}, ("./gosignaling",))


@pytest.mark.parametrize("text", ["", "name:", "A=1", "./gosignaling -port 5000"])
def test_a_command_that_could_not_be_measured_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="in "):
        parse_server(text)


def test_servers_of_one_name_are_numbered() -> None:
    spec, other = parse_server("a {port}"), parse_server("b {port}")
    assert [each.name for each in distinct([spec, other, spec])] == ["a #1", "b", "a #2"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False)]
    + [(host, False) for host in ("10.0.0.1", "example.org", "localhost", "")],
)
def test_load_goes_to_literal_loopback_addresses_only(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--host", "192.0.2.1"], "not a loopback address"),
        (["nonsense"], "no scenario nonsense"),
        (["relay", "--plot", "x.png"], "--plot draws the scenario rooms"),
        (["relay", "--json", "/no/such/directory/x.json"], "no directory"),
        (["--server", "./gosignaling"], "no {port}"),
        (["--rounds", "0"], "--rounds"),
        (["--mesh-members", "1"], "2 to 500"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(
    argv: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err


def test_help_names_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for name in ("relay", "rooms", "candidates", "mesh", "connect", "idle", "latency"):
        assert f"\n  {name} " in shown


@pytest.mark.parametrize("settings", [FULL, QUICK])
def test_a_job_survives_the_way_to_the_load_process(settings: Settings) -> None:
    job = Job("relay", "127.0.0.1", 5000, 1, settings)
    assert Job.from_json(job.to_json()) == job
