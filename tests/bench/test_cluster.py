"""`python -m bench.cluster`, small enough for a test, whatever the figures are."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from bench.cluster import PLACES, RELAYS, SCENARIOS, main
from bench.readings import ServerGone, Tree

ROOT = Path(__file__).resolve().parents[2]
SMALL = "--quick --seconds 0.3 --pairs 2 --connect-clients 2 --idle-connections 4"
pytestmark = pytest.mark.churn
CASES = [case for _, cases in SCENARIOS.values() for case in cases]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """Run all scenarios; return the output and the JSON."""
    path = tmp_path_factory.mktemp("bench") / "out.json"
    # The interpreter's own -X dev is left out: asyncio's debug mode would distort the figures.
    process = subprocess.run(
        [sys.executable, "-m", "bench.cluster", *SMALL.split(), "--json", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout, json.loads(path.read_text())


def results(run: tuple[str, dict[str, Any]], place: str) -> dict[str, dict[str, Any]]:
    return {each["case"]: each for each in run[1]["results"] if each["server"] == place}


@pytest.mark.parametrize("place", PLACES)
def test_every_case_is_measured_in_every_place(run: tuple[str, dict[str, Any]], place: str) -> None:
    found = results(run, place)
    assert list(found) == CASES
    for name, case in found.items():
        assert (case["rounds"], case["failures"]) == (1, [])
        for count in ("lost", "out_of_order", "duplicates", "strays", "disconnects", "errors"):
            assert case["total"][count] == 0
        if name != "idle":
            assert {"cpu_us_per_unit", "units_per_s", "p50_ms"} <= set(case["median"])
    idle = found["idle"]["median"]
    assert idle["connections"] == idle["descriptors_left"] == 4
    assert {"kib_per_connection", "idle_core_share"} <= set(idle)


def test_redis_is_measured_apart_where_there_is_one(run: tuple[str, dict[str, Any]]) -> None:
    for name in CASES:
        figure = "redis_mib" if name == "idle" else "redis_us_per_unit"
        assert figure not in results(run, "alone")[name]["median"]
        assert figure in results(run, "local")[name]["median"]
    # Redis has nothing to do with what one server relays.
    local, across = results(run, "local"), results(run, "across")
    for name in RELAYS:
        cost = across[name]["median"]["redis_us_per_unit"]
        assert cost > local[name]["median"]["redis_us_per_unit"]


def test_all_servers_of_the_cluster_are_counted(run: tuple[str, dict[str, Any]]) -> None:
    """An idle cluster has the memory of two servers."""
    rss = {place: results(run, place)["idle"]["median"]["rss_mib"] for place in ("alone", "local")}
    assert rss["local"] > 1.5 * rss["alone"]


def test_the_report_compares_the_places(run: tuple[str, dict[str, Any]]) -> None:
    printed = run[0]
    for scenario in SCENARIOS:
        assert f"### {scenario}\n" in printed
    assert "| alone | local | across |" in " ".join(printed.split())
    assert "`across` divided by `local`: `relay/2.5kB` " in printed
    assert "Redis us/message" in printed


def test_a_scenario_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["relays"])
    assert "no scenario relays; there are relay, joins, idle" in capsys.readouterr().err


def test_a_tree_has_several_roots() -> None:
    """What they use is added up; it is gone when one of them is."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        own = psutil.Process().pid
        both = Tree(own, child.pid)
        assert both.footprint().rss > Tree(child.pid).footprint().rss
        assert child.pid in [each.pid for each in both.processes()]
        child.kill()
        child.wait()
        with pytest.raises(ServerGone):
            both.processes()
