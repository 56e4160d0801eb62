"""The Makefile: what it says of itself, and which Python it takes."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parent.parent / "Makefile"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*args: str, cwd: Path = MAKEFILE.parent, **variables: str) -> str:
    """Run make as if from a shell, not from another make; return what it prints."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON", "ARGS")
    }
    ended = subprocess.run(
        ["make", *args],
        cwd=cwd,
        env=inherited | variables,
        capture_output=True,
        text=True,
        timeout=10,
    )
    return ended.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory with the Makefile, two Pythons and an environment made with the first."""
    shutil.copy(MAKEFILE, tmp_path)
    (tmp_path / "requirements.txt").touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "run").touch()
    for name, version in (("old", "3.11"), ("new", "3.12"), (".venv/bin/python", "3.11")):
        python = tmp_path / name
        python.write_text(f"#!/bin/sh\necho {version}\n")
        python.chmod(0o755)
    return tmp_path


def test_help_lists_every_target() -> None:
    """`make help` has a line for each target that is not a file; `make` alone says the same."""
    targets = re.search(r"^\.PHONY: (.*)$", MAKEFILE.read_text(), re.MULTILINE)
    assert targets
    text = make("help")
    assert re.findall(r"^make (\S+) +\S", text, re.MULTILINE) == targets[1].split()
    assert make() == text


@pytest.mark.parametrize(
    ("python", "made"), [(None, False), ("./old", False), ("./new", True), ("./none", True)]
)
@pytest.mark.parametrize("exported", [False, True], ids=["argument", "exported"])
def test_the_environment_is_of_the_python_asked_for(
    checkout: Path, python: str | None, made: bool, exported: bool
) -> None:
    """`make PYTHON=...` makes the environment anew when that was made with another Python."""
    variables = {"PYTHON": python} if python else {}
    arguments = [] if exported else [f"PYTHON={python}" for python in variables.values()]
    told = make("-n", "run", *arguments, cwd=checkout, **(variables if exported else {}))
    assert (f"{python} -m venv --clear .venv" in told) == made
    assert told.endswith(".venv/bin/python main.py \n")


def test_a_python_that_does_not_run_changes_nothing(checkout: Path) -> None:
    """The environment is as it was when the Python asked for cannot be used."""
    make("run", "PYTHON=./none", cwd=checkout)
    assert (checkout / ".venv" / "bin" / "python").exists()
