"""Keeps the documents' links to code and quotations of it up to date; `make docs` runs this.

It rewrites two things in README.md and docs/*.md, both with paths relative to the document:

- the line in a link whose text is a name: [`Room.with_client`](../model/room.py#L1);
- the code block after a marker such as `<!-- quote ../model/room.py Room.with_client -->`.

A name is a dotted path from the top of the file. The name of the module may precede it.
Attributes that methods assign to `self` belong to their class. A link may lead to JavaScript too.

A quotation leaves out docstrings. If its marker has `from "…"` or `to "…"`, it has only the lines
from the first one that begins with the former to the next one that begins with the latter.
"""

import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

LINK = re.compile(r"\[`(?P<name>[^`]+)`\]\((?P<path>[^)\s#:]+)#L\d+\)")
MARKER = re.compile(r"^<!-- quote ", re.MULTILINE)
QUOTATION = re.compile(
    r"^(?P<marker><!-- quote (?P<path>\S+) (?P<name>\S+)"
    r'(?: from "(?P<first>[^"\n]+)")?(?: to "(?P<last>[^"\n]+)")? -->\n)'
    r"```python\n(?:(?!```).*\n)*```$",
    re.MULTILINE,
)

Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def refresh(document: Path) -> tuple[str, list[str]]:
    """Return the text that the document should have, and the problems of what was left as it is."""
    problems: list[str] = []

    def refresh_link(match: re.Match[str]) -> str:
        name, path = match["name"], match["path"]
        try:
            return f"[`{name}`]({path}#L{line_of(document.parent / path, name)})"
        except (LookupError, OSError) as error:
            problems.append(f"{path}, {name}: {error}")
            return match[0]

    def refresh_quotation(match: re.Match[str]) -> str:
        name, path = match["name"], match["path"]
        try:
            code = quote(document.parent / path, name, match["first"], match["last"])
        except (LookupError, OSError) as error:
            problems.append(f"{path}, {name}: {error}")
            return match[0]
        return f"{match['marker']}```python\n{code}\n```"

    text = document.read_text(encoding="utf-8")
    if len(MARKER.findall(text)) != len(QUOTATION.findall(text)):
        problems.append("a quote marker is malformed or has no ```python block right after it")
    text = LINK.sub(refresh_link, text)
    return QUOTATION.sub(refresh_quotation, text), problems


def line_of(path: Path, name: str) -> int:
    """Return the number, from 1, of the line that defines the name. Raises LookupError, OSError."""
    text = path.read_text(encoding="utf-8")
    parts = _parts(path, name)
    return _line_in_javascript(text, parts) if path.suffix == ".js" else _find(text, parts).lineno


def quote(path: Path, name: str, first: str | None = None, last: str | None = None) -> str:
    """Return the lines that define the name, with decorators, without docstrings and indentation.

    `first` and `last` select a part of it by the beginnings of its first and its last line. Raises
    LookupError, OSError.
    """
    text = path.read_text(encoding="utf-8")
    definition = _find(text, _parts(path, name))
    decorators = definition.decorator_list if isinstance(definition, Scope) else []
    start = min([definition.lineno, *(decorator.lineno for decorator in decorators)])
    docstrings = {number for node in ast.walk(definition) for number in _docstring(node)}
    lines = [
        line
        for number, line in enumerate(text.splitlines(), 1)
        if start <= number <= _end(definition)
        # A blank line after a docstring is left out with it.
        and not (number in docstrings or (number - 1 in docstrings and not line.strip()))
    ]
    begin = 0 if first is None else _index(lines, first, 0)
    end = len(lines) if last is None else _index(lines, last, begin) + 1
    return textwrap.dedent("\n".join(lines[begin:end]))


def _parts(path: Path, name: str) -> list[str]:
    """Split the name at its dots, without the name of the module."""
    parents = path.resolve().with_suffix("").parts
    modules = (".".join(parents[index:]) + "." for index in range(len(parents)))
    module = next((module for module in modules if name.startswith(module)), "")
    return name.removeprefix(module).split(".")


def _find(text: str, parts: list[str]) -> ast.stmt:
    found = _definition(ast.parse(text), parts[0])
    for part in parts[1:]:
        found = _definition(found, part)
    return found


def _definition(scope: ast.AST, name: str) -> ast.stmt:
    for statement in _statements(scope):
        if name in _defined(statement):
            return statement
    if isinstance(scope, ast.ClassDef):
        for method in scope.body:
            for statement in _statements(method):
                if f"self.{name}" in _defined(statement):
                    return statement
    raise LookupError(f"{name} is not defined there")


def _statements(scope: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements of a scope, also those inside `if`, `try`, `with` and loops."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, Scope):
            yield from _statements(child)


def _defined(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [statement.name]
        case ast.Assign():
            return [ast.unparse(target) for target in statement.targets]
        case ast.AnnAssign():
            return [ast.unparse(statement.target)]
        case _:
            return []


def _docstring(node: ast.AST) -> range:
    """Return the lines of the node's docstring; none if its body has nothing else."""
    match node:
        case ast.FunctionDef(body=body) | ast.AsyncFunctionDef(body=body) | ast.ClassDef(body=body):
            match body:
                case [ast.Expr(value=ast.Constant(value=str())) as docstring, _, *_]:
                    return range(docstring.lineno, _end(docstring) + 1)
    return range(0)


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _index(lines: list[str], beginning: str, after: int) -> int:
    for index in range(after, len(lines)):
        if lines[index].strip().startswith(beginning):
            return index
    raise LookupError(f"no line begins with {beginning!r}")


def _line_in_javascript(text: str, parts: list[str]) -> int:
    """Return the line of a top-level name, or of a member of a top-level class.

    The file must be indented.
    """
    position = _search(
        r"(?:export )?(?:const|let|class|(?:async )?function) NAME\b", parts[0], text
    )
    for member in parts[1:]:
        indented = re.compile(r"^[ \t]+", re.MULTILINE).search(text, position)
        indentation = indented[0] if indented else ""
        declaration = rf"{indentation}(?:(?:static|async|get|set) )*NAME(?:\(| =|;)"
        position = _search(declaration, member, text, position)
    return text.count("\n", 0, position) + 1


def _search(declaration: str, name: str, text: str, position: int = 0) -> int:
    pattern = re.compile(f"^{declaration.replace('NAME', re.escape(name))}", re.MULTILINE)
    found = pattern.search(text, position)
    if found is None:
        raise LookupError(f"{name} is not defined there")
    return found.end()


def main() -> int:
    """Rewrite the documents that are out of date; return 1 if a link in them leads nowhere."""
    failed = False
    for document in documents():
        text, problems = refresh(document)
        if text != document.read_text(encoding="utf-8"):
            document.write_text(text, encoding="utf-8")
            print(f"{document.relative_to(ROOT)}: updated")
        for problem in problems:
            print(f"{document.relative_to(ROOT)}: {problem}", file=sys.stderr)
        failed = failed or bool(problems)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
