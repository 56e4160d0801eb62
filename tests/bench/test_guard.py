"""No process that a run has started stays behind, however the run ends."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped, import-not-found, unused-ignore]
import pytest

from bench.guard import Guard, left

ROOT = Path(__file__).resolve().parents[2]
SLEEP = "import time; time.sleep(60)"

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="needs signals: run it on Linux or macOS"
)


def wait_until_gone(pids: list[int]) -> None:
    """Fail if one of the processes has not ended after 10 s. It need not have been reaped."""
    for pid in pids:
        try:
            process = psutil.Process(pid)
            while process.status() != psutil.STATUS_ZOMBIE:
                process.wait(10)
        except psutil.NoSuchProcess:
            continue


def test_what_was_started_and_not_ended_is_left() -> None:
    assert left(["+1", "+2\n", "-1\n", "+3"]) == {2, 3}


def test_a_process_is_ended_with_its_descendants() -> None:
    """Orphans are ended too, although the process table no longer shows their parent."""
    script = (
        f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid)"
    )
    with Guard() as guard:
        process = guard.start([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        orphan = int(process.stdout.readline())
        process.wait()
        guard.end(process)
        process.stdout.close()
    wait_until_gone([orphan])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_outlives_the_bench(number: signal.Signals, tmp_path: Path) -> None:
    """The server writes down its own id and its child's, and does not look after its child."""
    told = tmp_path / "told"
    server = (
        "import json, os, pathlib, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}])\n"
        "new = pathlib.Path(sys.argv[1] + '.new')\n"
        "new.write_text(json.dumps([os.getpid(), child.pid]))\n"
        "new.rename(sys.argv[1])\n"
        "child.wait()\n"
    )
    command = shlex.join([sys.executable, "-c", server, str(told), "{port}"])
    bench = subprocess.Popen(
        [sys.executable, "-m", "bench", "relay", "--quick", f"--server={command}"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert bench.stderr is not None
    with bench:
        while not told.exists():
            assert bench.poll() is None, bench.stderr.read()
        bench.send_signal(number)
        assert "Traceback" not in bench.stderr.read()
    wait_until_gone(json.loads(told.read_text()))
    codes = {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
    assert bench.returncode == codes.get(number, 128 + number)
