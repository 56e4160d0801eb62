"""The arguments that the command line takes, and those that it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import main, this_server
from bench.load import Job, is_loopback
from bench.server import distinct, parse_server
from bench.settings import FULL, QUICK, Settings

ROOT = Path(__file__).resolve().parents[2]


def test_a_server_is_a_command_with_a_port() -> None:
    spec = parse_server("python main.py -addr 127.0.0.1 -port {port}")
    assert spec.name == "main.py"
    assert spec.argv == ("python", "main.py", "-addr", "127.0.0.1", "-port", "{port}")
    assert spec.env == {}


def test_leading_assignments_are_the_environment() -> None:
    spec = parse_server("SIGNALING_TRANSPORT=tornado LOG='a b' python main.py X=1 {port}")
    assert spec.env == {"SIGNALING_TRANSPORT": "tornado", "LOG": "a b"}
    assert spec.argv == ("python", "main.py", "X=1", "{port}")
    assert spec.name == "SIGNALING_TRANSPORT=tornado LOG=a b main.py"


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
        (["relay", "--json", "."], ". is a directory"),
        (["--plot", "x.foo"], "does not end in .png"),
        (["--seconds", "0"], "--seconds: '0' is not a number of seconds above 0, up to 600"),
        (["--seconds", "nan"], "'nan' is not a number of seconds"),
        (["--rounds", "two"], "--rounds: 'two' is not a whole number above 0"),
        (["--idle-rooms", "0,,1"], "--idle-rooms: '0,,1' is not a list of whole numbers"),
        (["--baseline", "go"], "no server go; there are auto, tornado"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(
    argv: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err


def test_the_default_servers_listen_where_the_load_goes() -> None:
    for spec in this_server():
        assert spec.argv[-4:] == ("-addr", "{host}", "-port", "{port}")


def test_without_psutil_one_line_says_what_to_do() -> None:
    script = (
        "import importlib.util, runpy\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'psutil' else find(name)\n"
        "runpy.run_module('bench', run_name='__main__')\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert process.stderr == "bench needs psutil: python -m pip install -r bench/requirements.txt\n"


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
