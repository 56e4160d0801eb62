"""The links to code and the quotations of code in the documents."""

from pathlib import Path
from textwrap import dedent

import pytest

from docs.references import documents, line_of, quote, refresh

PYTHON = '''\
"""A module."""

try:
    LIMIT: int = 5
except ValueError:
    other = 1


@decorated
class Room:
    """A room."""

    name: str = "a"

    def __init__(self) -> None:
        self._clients = {}

    def leave(self) -> None:
        """Leave it.

        For good.
        """
        clients = self._clients

        if clients:
            clients.clear()

    def only_documented(self) -> None:
        """Do nothing."""


def enter() -> None:
    pass
'''

JAVASCRIPT = """\
import { leave } from "./x.js";
const LIMIT = 5;
export class Room {
  #clients;
  name = "a";
  constructor() {
    leave();
  }
  async leave() {}
  get size() {}
}
async function enter() {}
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    path = tmp_path / "manager" / "room.py"
    path.parent.mkdir()
    path.write_text(PYTHON, encoding="utf-8")
    return path


@pytest.fixture
def javascript(tmp_path: Path) -> Path:
    path = tmp_path / "room.js"
    path.write_text(JAVASCRIPT, encoding="utf-8")
    return path


def document(folder: Path, text: str) -> Path:
    path = folder / "document.md"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_a_document_is_in_step_with_the_code(path: Path) -> None:
    """Every link has the line on which its name is defined, and every quotation is up to date."""
    text, problems = refresh(path)
    assert not problems
    assert text == path.read_text(encoding="utf-8"), "run `make docs`"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("LIMIT", 4),
        ("other", 6),
        ("Room", 10),
        ("Room.name", 13),
        ("Room.__init__", 15),
        ("Room._clients", 16),
        ("Room.leave", 18),
        ("enter", 32),
        ("room.enter", 32),
        ("manager.room.Room.leave", 18),
    ],
)
def test_the_line_of_a_name(python: Path, name: str, line: int) -> None:
    """It is the line of the definition, whatever is defined."""
    assert line_of(python, name) == line


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("LIMIT", 2),
        ("Room", 3),
        ("Room.#clients", 4),
        ("Room.name", 5),
        ("Room.constructor", 6),
        ("Room.leave", 9),
        ("Room.size", 10),
        ("enter", 12),
    ],
)
def test_the_line_of_a_name_in_javascript(javascript: Path, name: str, line: int) -> None:
    assert line_of(javascript, name) == line


@pytest.mark.parametrize(
    "name", ["clients", "Room.leav", "Room.leave.self", "leave", "server.Room"]
)
def test_a_name_that_is_not_defined_has_no_line(python: Path, javascript: Path, name: str) -> None:
    """A part of a name, a use of it or an import of it is no definition."""
    for path in (python, javascript):
        with pytest.raises(LookupError, match="not defined"):
            line_of(path, name)


def test_a_link_gets_the_line_of_its_name(python: Path) -> None:
    """Only links with a line, whose text is a name, are changed."""
    path = document(
        python.parent,
        "[`Room`](room.py#L1), [`Room`](room.py), [a room](room.py#L1), [`Room`](https://x/y#L1)",
    )
    assert refresh(path) == (
        "[`Room`](room.py#L10), [`Room`](room.py), [a room](room.py#L1), [`Room`](https://x/y#L1)",
        [],
    )


def test_a_quotation_has_decorators_and_no_docstrings(python: Path) -> None:
    """A docstring stays if there is nothing else in the body."""
    assert quote(python, "Room") == dedent('''\
        @decorated
        class Room:
            name: str = "a"

            def __init__(self) -> None:
                self._clients = {}

            def leave(self) -> None:
                clients = self._clients

                if clients:
                    clients.clear()

            def only_documented(self) -> None:
                """Do nothing."""''')


def test_a_quotation_of_a_part(python: Path) -> None:
    """It goes from the first line that begins so to the next one, without indentation."""
    assert quote(python, "Room.leave", "if clients") == "if clients:\n    clients.clear()"
    assert quote(python, "Room.leave", "clients =", "clients =") == "clients = self._clients"
    assert quote(python, "Room.leave", last="clients =").endswith("    clients = self._clients")


@pytest.mark.parametrize(("first", "last"), [("leave", None), (None, "leave"), ("if", "clients =")])
def test_a_part_that_is_not_there(python: Path, first: str | None, last: str | None) -> None:
    with pytest.raises(LookupError, match="no line begins with"):
        quote(python, "Room.leave", first, last)


def test_the_block_after_a_marker_becomes_the_quotation(python: Path) -> None:
    """The text before and after it stays."""
    marker = '<!-- quote room.py Room.leave from "if" to "clients" -->\n'
    path = document(python.parent, f"A\n{marker}```python\nold\n\nold\n```\nB\n```js\nC\n```\n")
    assert refresh(path) == (
        f"A\n{marker}```python\nif clients:\n    clients.clear()\n```\nB\n```js\nC\n```\n",
        [],
    )


@pytest.mark.parametrize(
    "text",
    [
        "[`gone`](room.py#L1)",
        "[`Room`](gone.py#L1)",
        "<!-- quote room.py gone -->\n```python\n```\n",
        "<!-- quote gone.py Room -->\n```python\n```\n",
        '<!-- quote room.py Room from "gone" -->\n```python\n```\n',
        "<!-- quote room.py Room -->\n\nNo block\n",
        "<!-- quote room.py Room form x -->\n```python\n```\n",
    ],
)
def test_what_leads_nowhere_is_reported_and_left(python: Path, text: str) -> None:
    path = document(python.parent, text)
    refreshed, problems = refresh(path)
    assert refreshed == text
    assert len(problems) == 1
