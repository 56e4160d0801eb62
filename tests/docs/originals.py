"""The declarations in the originals, from a list of them."""

import re
from pathlib import Path
from typing import NamedTuple

# The list has the address of a repository at a commit, and after it the file, the line and the name
# of each declaration, including fields and methods.
LIST = Path(__file__).parent / "original_names.txt"

LINK = re.compile(r"\[([^\]]+)\]\((https:[^)#]+)#L(\d+)\)")
NAME = re.compile(r"`([^`]+)`")


class Declaration(NamedTuple):
    """A name and where it is declared: the URL of the file, and the line."""

    name: str
    file: str
    line: int


def declarations() -> list[Declaration]:
    """Return the declarations in the order of the files and lines."""
    found = []
    repository = ""
    for entry in LIST.read_text(encoding="utf-8").splitlines():
        if entry.startswith("https:"):
            repository = entry
        else:
            file, line, name = entry.split()
            found.append(Declaration(name, repository + file, int(line)))
    return found


def linked(text: str) -> list[Declaration]:
    """Return the targets of the links. If the text of a link is not one name, it has no name."""
    found = []
    for words, file, line in LINK.findall(text):
        name = NAME.fullmatch(words)
        found.append(Declaration(name[1] if name else "", file, int(line)))
    return found
