"""docs/side_by_side.md has every name of the originals, in their order, with its counterpart."""

import re
from itertools import pairwise

import pytest

from docs import references
from tests.docs.originals import LINK, declarations, linked

DOCUMENT = references.ROOT / "docs" / "side_by_side.md"

ROW = re.compile(r"^\| (.*) \| (.*) \| (.*)\|$", re.MULTILINE)
NOT_YET = re.compile(r"\[none yet\]\([^)]+\)")

Row = tuple[str, str, str]


def rows() -> list[Row]:
    """Return the three cells of each row, without the headings of the tables."""
    cells = ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    return [row for row in cells if row[1] != "Here"]


def test_the_names_of_the_originals_are_all_there_in_order() -> None:
    """The names on the left, with their files and lines, are those of the list and no others."""
    listed = [each for row in rows() for each in linked(row[0]) if each.name]
    assert listed == declarations()


def test_a_part_of_a_function_is_in_order_too() -> None:
    """Within a file, no row is about a line above that of the row before it."""
    for before, after in pairwise(each for row in rows() for each in linked(row[0])):
        assert before.file != after.file or before.line < after.line


@pytest.mark.parametrize("row", rows(), ids=lambda row: re.sub(r"\(.*?\)", "", row[0]))
def test_a_row_has_a_link_in_every_cell(row: Row) -> None:
    """The right cell has the link to a name, or the last cell says why there is no counterpart."""
    left, right, difference = row
    assert not LINK.sub("", left).strip(", ")
    counterpart = references.LINK.fullmatch(right) or NOT_YET.fullmatch(right)
    assert counterpart or (right == "none" and difference.strip())


def test_the_tables_are_read() -> None:
    assert len(rows()) > 200
    assert linked(rows()[0][0])[0].name == "main"
