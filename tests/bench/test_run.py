"""A whole run, small enough for a test, reports what it should, whatever the figures are."""

import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.load import Job
from bench.scenarios import SCENARIOS
from bench.settings import QUICK

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[2]
PYTHON = shlex.quote(sys.executable)
SERVER = f"this: {PYTHON} main.py -addr 127.0.0.1 -port {{port}}"
DEAD = f"dead: {PYTHON} -c 'raise SystemExit(3)' {{port}}"
SMALL = "--rounds 1 --seconds 0.3 --pairs 2 --idle-rooms 0,3 --burst 2 --mesh-members 3"
SMALL += " --connect-clients 2 --idle-connections 4 --settle 10 --stall 5"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """Run all scenarios over this server and one that dies; return the output and the JSON."""
    path = tmp_path_factory.mktemp("bench") / "out.json"
    # The interpreter's own -X dev is left out: asyncio's debug mode would distort the figures.
    words = f"-m bench --quick {SMALL} --json".split()
    process = subprocess.run(
        [sys.executable, *words, str(path), f"--server={SERVER}", f"--server={DEAD}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 1, process.stderr
    return process.stdout, json.loads(path.read_text())


def results(run: tuple[str, dict[str, Any]], server: str) -> dict[str, dict[str, Any]]:
    return {each["case"]: each for each in run[1]["results"] if each["server"] == server}


def test_every_case_of_every_scenario_is_measured(run: tuple[str, dict[str, Any]]) -> None:
    found = results(run, "this")
    assert set(found) == {
        "relay",
        "rooms/0",
        "rooms/3",
        "candidates",
        "mesh",
        "connect",
        "idle/joined",
        "idle/left",
        "latency",
    }
    assert {each["scenario"] for each in found.values()} == set(SCENARIOS)
    for case in found.values():
        assert (case["rounds"], case["failures"]) == (1, [])


def test_this_server_loses_nothing(run: tuple[str, dict[str, Any]]) -> None:
    for case in results(run, "this").values():
        total = case["total"]
        assert total["sent"] == total["arrived"]
        for name in ("lost", "out_of_order", "duplicates", "strays", "disconnects", "errors"):
            assert total[name] == 0
    mesh = results(run, "this")["mesh"]
    assert mesh["total"]["sent"] == 3 * (1 + 2 + 1)
    assert mesh["median"]["announced"] == mesh["median"]["announced_expected"] == 3


def test_cases_have_the_figures_of_their_kind(run: tuple[str, dict[str, Any]]) -> None:
    cost = {"cpu_us_per_unit", "units_per_s", "load_cpu_us_per_unit"}
    times = {"p50_ms", "p99_ms"}
    for name, case in results(run, "this").items():
        if case["scenario"] == "idle":
            assert {"kib_per_connection", "rss_mib", "descriptors", "seconds"} <= set(
                case["median"]
            )
        else:
            # On a busy machine the paced load generator may be late. Then nothing is timed.
            own = {"on_time_share", "offered_per_s"} if name == "latency" else times
            assert cost | own <= set(case["median"]), name
            assert case["unit"] == ("connection" if name == "connect" else "message")
    left = results(run, "this")["idle/left"]["median"]
    assert left["descriptors_left"] == 0


def test_a_server_that_dies_is_reported_and_the_run_goes_on(
    run: tuple[str, dict[str, Any]],
) -> None:
    for case in results(run, "dead").values():
        assert case["failures"] == ["died (exit 3) before listening"]
        assert (case["rounds"], case["median"], case["ratio"]) == (0, {}, None)
    assert "died (exit 3) before listening" in run[0]


def test_a_load_process_that_nobody_listens_to_ends_without_a_word() -> None:
    job = Job("relay", "127.0.0.1", 1, os.getpid(), QUICK)
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, complaint = process.communicate(json.dumps(job.to_json()) + "\n", timeout=30)
    assert complaint == ""


def test_the_report_says_on_what_and_of_what_but_not_where(
    run: tuple[str, dict[str, Any]],
) -> None:
    printed, data = run
    assert set(data) >= {"format", "machine", "servers", "settings", "results", "rounds"}
    assert set(data["machine"]) == {"cpu", "cores", "system", "python"}
    assert [each["name"] for each in data["servers"]] == ["this", "dead"]
    assert data["settings"]["rounds"] == 1
    assert len(data["rounds"]) == len(data["results"])
    assert platform.node() not in data["machine"].values()
    for scenario in SCENARIOS:
        assert f"## {scenario}\n" in printed


def test_over_tls(tmp_path: Path) -> None:
    """This server and the same on Tornado's own TLS are measured, and lose nothing."""
    path = tmp_path / "out.json"
    words = f"-m bench relay connect idle --tls --quick {SMALL} --json {path}".split()
    subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, timeout=120, check=True)
    found = json.loads(path.read_text())["results"]
    cases = ("relay", "connect", "idle/joined", "idle/left")
    assert [(each["case"], each["server"]) for each in found] == [
        (case, server) for case in cases for server in ("auto", "tornado")
    ]
    for each in found:
        assert (each["rounds"], each["failures"], each["total"]["lost"]) == (1, [], 0)
