"""The TypeScript compiler compares sdk/signaling.d.ts with sdk/signaling.js."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SDK = ROOT / "sdk"
TSC = ROOT / "node_modules" / ".bin" / "tsc"

pytestmark = pytest.mark.skipif(not TSC.exists(), reason="needs what `make lint` installs")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a directory with the declarations, the code under another name, and a check.

    Beside signaling.d.ts, the compiler would not look into signaling.js.
    """
    shutil.copy(SDK / "signaling.d.ts", tmp_path)
    shutil.copy(SDK / "signaling.js", tmp_path / "written.js")
    shutil.copy(Path(__file__).parent / "declarations.ts", tmp_path)
    config = {"extends": str(ROOT / "tsconfig.json"), "files": ["declarations.ts"], "include": []}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    return tmp_path


def compile_in(place: Path) -> str:
    """Return the compiler's output."""
    return subprocess.run([TSC], cwd=place, capture_output=True, text=True, timeout=60).stdout


def test_what_is_declared_is_what_there_is(place: Path) -> None:
    """Each export, method, property and parameter is declared with its type, and no other is."""
    assert compile_in(place) == ""


@pytest.mark.parametrize(
    ("file", "text", "other", "name"),
    [
        ("written.js", "  setName(name) {", "  #setName(name) {", "setName"),
        ("written.js", "  close() {", "  close() {}\n  open() {", "open"),
        ("signaling.d.ts", "send(data: unknown, clientId?: string)", "send(data: unknown)", "send"),
        ("signaling.d.ts", "readonly screen: MediaStream", "screen: MediaStream", "screen"),
        ("signaling.d.ts", "myScreen?: HTMLVideoElement | null", "myScreen?: null", "constructor"),
        ("written.js", "export { SignalingClient as SingoClient };", "", "SingoClient"),
    ],
)
def test_a_difference_is_named(place: Path, file: str, text: str, other: str, name: str) -> None:
    """The compiler names the difference."""
    before = (place / file).read_text()
    assert text in before
    (place / file).write_text(before.replace(text, other, 1))
    assert f'"{name}"' in compile_in(place)
