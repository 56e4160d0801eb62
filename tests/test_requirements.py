"""Everything that is imported from elsewhere is declared, though another package brings it too."""

import re
import sys
from pathlib import Path

from tests.support.imports import ROOT, imports

FOLDERS = {path.parent for path in ROOT.glob("*/*.py")}
OURS = {folder.name for folder in FOLDERS} | {path.stem for path in ROOT.glob("*.py")}


def declared(folder: Path) -> set[str]:
    """Return the names in a folder's requirements, which are on top of the server's own."""
    files = {ROOT / "requirements.txt", folder / "requirements.txt"}
    texts = [file.read_text(encoding="utf-8") for file in files if file.exists()]
    return {name for text in texts for name in re.findall(r"^[\w-]+", text, re.MULTILINE)}


def test_every_import_is_declared() -> None:
    """In the requirements of its folder; each package is imported by the name that it has there."""
    undeclared: dict[str, set[str]] = {}
    for folder in (ROOT, *FOLDERS):
        known = declared(folder) | OURS | sys.stdlib_module_names
        for path in folder.glob("*.py") if folder == ROOT else folder.rglob("*.py"):
            if unknown := {name.partition(".")[0] for name in imports(path)} - known:
                undeclared[str(path.relative_to(ROOT))] = unknown
    assert undeclared == {}
