"""The Makefile: its help, and the Python and Node.js that it accepts."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parent.parent / "Makefile"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make: install it")


def run(
    *args: str, cwd: Path = MAKEFILE.parent, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run make as if from a shell, not from another make."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON", "ARGS", "AGAIN")
    }
    return subprocess.run(
        ["make", *args],
        cwd=cwd,
        env=inherited | variables,
        capture_output=True,
        text=True,
        timeout=10,
    )


def make(*args: str, cwd: Path = MAKEFILE.parent, **variables: str) -> str:
    """Run make as `run` does; return its output."""
    return run(*args, cwd=cwd, **variables).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a directory with the Makefile, two Pythons and an environment of the first one."""
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
    """`make help` has a line for each target that is not a file; `make` alone prints the same."""
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
    """`make PYTHON=...` makes the environment anew if it was made with another Python."""
    variables = {"PYTHON": python} if python else {}
    arguments = [] if exported else [f"PYTHON={python}" for python in variables.values()]
    told = make("-n", "run", *arguments, cwd=checkout, **(variables if exported else {}))
    assert (f"{python} -m venv --clear .venv" in told) == made
    assert told.endswith(".venv/bin/python main.py \n")


def test_a_python_that_does_not_run_changes_nothing(checkout: Path) -> None:
    """The environment stays as it was if the Python cannot be used."""
    make("run", "PYTHON=./none", cwd=checkout)
    assert (checkout / ".venv" / "bin" / "python").exists()


@pytest.mark.parametrize("node", [None, "#!/bin/sh\nexit 1\n"], ids=["none", "too old"])
def test_lint_says_that_it_needs_node(checkout: Path, node: str | None) -> None:
    """Without npm, or with too old a Node.js, `make lint` says in one line what is needed."""
    tools = checkout / "tools"
    tools.mkdir()
    (tools / "make").symlink_to(shutil.which("make") or "")
    if node is not None:
        for name, script in (("npm", "#!/bin/sh\n"), ("node", node)):
            (tools / name).write_text(script)
            (tools / name).chmod(0o755)
    for name in ("package.json", "package-lock.json"):
        (checkout / name).touch()
    ended = run("node_modules/.lint", cwd=checkout, PATH=str(tools))
    assert ended.returncode != 0
    assert ended.stdout == ""
    told = [line for line in ended.stderr.splitlines() if not line.startswith("make: ")]
    assert told == ["Node.js 20 or newer is needed, with npm: apt install nodejs npm"]
