"""The README and its companions are right about settings, commands, links and code."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from config.config import Config, variables
from config.env_file import parse_env_file

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `([A-Z_]+)` \| ([^|]*) \|", re.MULTILINE)
EXAMPLE = re.compile(r"^# ([A-Z_]+)=(.*)$", re.MULTILINE)
MAKE = re.compile(r"\bmake ([a-z]+)\b")
TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks in a language; "" stands for those without one."""
    return [block for name, block in FENCE.findall(text_of(README)) if name == language]


def defaults() -> list[tuple[str, str]]:
    """Return each variable with its default as one would write it, in the order of Config."""
    return [
        (variable, re.sub(r"\.0$|^\(\)$", "", str(getattr(Config, name))))
        for variable, (name, _) in variables().items()
    ]


def anchors(path: Path) -> set[str]:
    """Return the names by which links refer to the headings of a document or the lines of code."""
    if path.suffix != ".md":
        return {f"L{number}" for number, _ in enumerate(text_of(path).splitlines(), 1)}
    prose = FENCE.sub("", text_of(path))
    slugs = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose))
    return {slug.replace(" ", "-") for slug in slugs}


def links() -> list[tuple[Path, str]]:
    """Return the links into the repository, each with its document."""
    return [
        (document, link)
        for document in DOCUMENTS
        for link in LINK.findall(FENCE.sub("", text_of(document)))
        if not re.match(r"https?:", link)
    ]


def test_the_readme_lists_the_variables() -> None:
    """The configuration table has each variable once, in Config's order, with its default."""
    rows = ROW.findall(text_of(README))
    assert [(name, default.strip("`")) for name, default in rows] == defaults()


def test_the_example_lists_the_variables() -> None:
    """.env.example has each variable too, commented out, with its default."""
    assert EXAMPLE.findall(text_of(ROOT / ".env.example")) == defaults()


def test_the_example_can_be_used() -> None:
    """Without the comment signs, .env.example is a `.env` file that changes nothing."""
    lines = EXAMPLE.findall(text_of(ROOT / ".env.example"))
    content = "\n".join(f"{name}={default}" for name, default in lines)
    assert Config.from_environ(parse_env_file(content.encode())) == Config()


def test_make_knows_the_commands() -> None:
    """Every `make …` in the README is a target."""
    commands = set(MAKE.findall("".join(blocks("bash"))))
    assert {"demo", "run"} <= commands
    code = "".join(blocks("bash") + re.findall(r"`[^`\n]+`", text_of(README)))
    assert set(MAKE.findall(code)) <= set(TARGET.findall(text_of(ROOT / "Makefile")))


@pytest.mark.parametrize(
    ("document", "link"), links(), ids=lambda it: it.name if isinstance(it, Path) else it
)
def test_a_link_leads_somewhere(document: Path, link: str) -> None:
    """A link to a file of the repository, or to a heading in one, finds it."""
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    assert target.exists()
    assert not anchor or anchor in anchors(target)


def test_links_are_found() -> None:
    assert (README, "LICENSE") in links()


def test_the_turn_server_is_a_setting() -> None:
    """The line for `.env` can be read, and has the user of the TURN server's configuration."""
    configuration, setting = (block for block in blocks("") if "turn.example.com" in block)
    config = Config.from_environ(parse_env_file(setting.encode()))
    (server,) = json.loads(config.ice_servers)
    assert f"user={server['username']}:{server['credential']}\n" in configuration


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node: install Node.js")
def test_the_page_parses(tmp_path: Path) -> None:
    """The script of the page is a JavaScript module; tests/browser runs it."""
    (page,) = blocks("html")
    (script,) = re.findall(r'<script type="module">\n(.*)</script>', page, re.DOTALL)
    module = tmp_path / "call.mjs"
    module.write_text(script, encoding="utf-8")
    checked = subprocess.run(
        ["node", "--check", str(module)], capture_output=True, text=True, timeout=30
    )
    assert checked.returncode == 0, checked.stderr
