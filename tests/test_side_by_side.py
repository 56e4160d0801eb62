"""docs/side_by_side.md: each Python name that it lists is there."""

import importlib
import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parent.parent / "docs" / "side_by_side.md"
ROW = re.compile(r"^\|[^|]*\|[^|]*\| (?P<python>[^|]*) \|", re.MULTILINE)
NAME = re.compile(r"`([\w.]+)`")


def names() -> list[str]:
    """The names in the third column of the tables."""
    rows = ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    return sorted({name for cell in rows for name in NAME.findall(cell)})


def resolve(name: str) -> object:
    """The object of that dotted name: a module's attribute, or an attribute of that."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", names())
def test_a_listed_name_exists(name: str) -> None:
    assert resolve(name)


def test_the_table_is_read() -> None:
    assert {"main.run", "handler.handler.Handler._handle_sdp_offer"} <= set(names())
