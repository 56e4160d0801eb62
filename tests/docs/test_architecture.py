"""docs/architecture.md has every module and every rule of who may know whom."""

import re

from docs.references import ROOT
from tests.test_layers import LAYERS, PACKAGES, modules

DOCUMENT = ROOT / "docs" / "architecture.md"

FILE = re.compile(r"^\| \[`([^`]+\.py)`\]", re.MULTILINE)
RULE = re.compile(r"^\| `([a-z.]+)` \| ([^|]*) \| ([^|]*) ?\| [^|]*\|$", re.MULTILINE)
NAME = re.compile(r"`([^`]+)`")


def text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def test_every_module_is_listed_once() -> None:
    """Those of the server, but for the empty ones that only make a package."""
    paths = [path for path in modules() if path.name != "__init__.py"]
    listed = FILE.findall(text())
    assert sorted(listed) == sorted(path.relative_to(ROOT).as_posix() for path in paths)


def test_the_rules_are_those_of_the_test() -> None:
    """Each layer has a row with the layers and the packages that it may import."""
    rules = RULE.findall(text())
    assert {layer: set(NAME.findall(known)) for layer, known, _ in rules} == LAYERS
    packages = {layer: set(re.findall(r"\w+", names.lower())) for layer, _, names in rules}
    assert packages == PACKAGES
