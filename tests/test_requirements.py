"""Every package that is imported is declared, even if another package brings it along."""

import re
import sys
from pathlib import Path

from tests.support.imports import ROOT, imports

FOLDERS = {path.parent for path in ROOT.glob("*/*.py")}
OURS = {folder.name for folder in FOLDERS} | {path.stem for path in ROOT.glob("*.py")}

IMPORTED_AS = {"PyJWT": "jwt"}
"""The packages whose name is not the one by which they are imported."""


def declared(folder: Path) -> set[str]:
    """Return what a folder's requirements have, by import, on top of the server's own."""
    files = {ROOT / "requirements.txt", folder / "requirements.txt"}
    texts = [file.read_text(encoding="utf-8") for file in files if file.exists()]
    names = {name for text in texts for name in re.findall(r"^[\w-]+", text, re.MULTILINE)}
    return {IMPORTED_AS.get(name, name) for name in names}


def test_every_import_is_declared() -> None:
    """It is in its folder's requirements."""
    undeclared: dict[str, set[str]] = {}
    for folder in (ROOT, *FOLDERS):
        known = declared(folder) | OURS | sys.stdlib_module_names
        for path in folder.glob("*.py") if folder == ROOT else folder.rglob("*.py"):
            if unknown := {name.partition(".")[0] for name in imports(path)} - known:
                undeclared[str(path.relative_to(ROOT))] = unknown
    assert undeclared == {}
