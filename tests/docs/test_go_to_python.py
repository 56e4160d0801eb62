"""docs/go_to_python.md shows each idiom in both programs, as it is there."""

import re

import pytest

from docs.references import QUOTATION, ROOT
from tests.docs.originals import LINK, declarations, linked

TEXT = (ROOT / "docs" / "go_to_python.md").read_text(encoding="utf-8")

SECTIONS = re.findall(r"^## (\d+)\. (.*)\n((?:(?!## ).*\n)*)", TEXT, re.MULTILINE)
PLACES = re.compile(r"^Go: (.+) · Python: (.+)$", re.MULTILINE)
COUNTERPART = re.compile(r"\[`[^`]+`\]\(\.\./[\w/]+\.py#L\d+\)")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section[1])
def test_a_section_shows_both_programs_and_what_changes(section: tuple[str, str, str]) -> None:
    """It has links into both, a sketch of the Go, a quotation of the Python, a gain and a loss."""
    _, _, text = section
    ((originals, counterparts),) = PLACES.findall(text)
    assert not LINK.sub("", originals).strip(", ")
    assert not COUNTERPART.sub("", counterparts).strip(", ")
    assert text.count("```go\n") == 1
    assert QUOTATION.search(text)
    assert text.count("- **Gained:** ") == text.count("- **Lost:** ") == 1


def test_the_sections_are_counted() -> None:
    assert [int(number) for number, _, _ in SECTIONS] == list(range(1, 17))


def test_a_name_of_the_original_has_its_line() -> None:
    """The name is declared there; a link with other words leads into a file of the original."""
    declared = declarations()
    files = {each.file for each in declared}
    links = linked(TEXT)
    assert len(links) >= len(SECTIONS)
    for link in links:
        assert link in declared if link.name else link.file in files


def test_every_python_block_is_a_quotation() -> None:
    """All code that is shown is checked."""
    assert TEXT.count("```python\n") == len(QUOTATION.findall(TEXT))
