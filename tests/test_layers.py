"""The rules that keep the layers apart, checked by the imports."""

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.support.imports import ROOT, imports

LAYERS = {
    "main": {
        *("capabilities", "config", "log", "process", "server", "transport", "version"),
        "workers",
    },
    "capabilities": {
        *("config", "edge", "edge.door", "handler", "log", "repository.mem", "services"),
        *("transport", "workers"),
    },
    "server": {
        *("capabilities", "config", "demo", "edge", "handler", "manager", "process"),
        *("repository.mem", "transport", "version", "workers"),
    },
    "log": {"process"},
    "process": set[str](),
    "config": set[str](),
    "demo": set[str](),
    "edge": {"edge.door"},
    "edge.door": set[str](),
    "handler": {"config", "edge.door", "manager", "model", "transport", "workers"},
    "transport": {"transport.connection", "transport.frames"},
    "transport.connection": {"transport.frames"},
    "transport.frames": set[str](),
    "manager": {"model", "repository"},
    "model": set[str](),
    "repository": {"model"},
    "services": {"manager", "model", "repository"},
    "repository.mem": {"model", "repository"},
    "version": set[str](),
    "workers": {"process"},
}
# The packages that a layer may import from elsewhere, besides the standard library.
PACKAGES = {
    "main": set[str](),
    "capabilities": {"tornado"},
    "server": {"tornado"},
    "log": set[str](),
    "process": {"uvloop"},
    "config": set[str](),
    "demo": {"tornado"},
    "edge": {"cryptography", "jwt", "msgspec", "tornado"},
    "edge.door": {"tornado"},
    "handler": {"tornado"},
    "transport": {"tornado"},
    "transport.connection": set[str](),
    "transport.frames": set[str](),
    "manager": set[str](),
    "model": {"epyxid", "msgspec"},
    "repository": set[str](),
    "services": {"msgspec", "redis"},
    "repository.mem": set[str](),
    "version": set[str](),
    "workers": set[str](),
}

# Calls that import modules without an import statement.
IMPORTERS = {"__import__", "import_module", "importlib", "pkgutil", "runpy"}


def layer_of(module: str) -> str:
    """Return the layer of a module, which is the longest name that has rules."""
    names = [name for name in LAYERS if module == name or module.startswith(f"{name}.")]
    return max(names, key=len, default="")


def modules() -> list[Path]:
    return [
        path
        for path in sorted(ROOT.rglob("*.py"))
        if layer_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    ]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_layer_knows_only_those_that_it_may(path: Path) -> None:
    """The arrows are main -> server -> everything; handler -> manager -> repository -> model."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    layer = layer_of(module)
    for name in imports(path):
        other = layer_of(name)
        if other:
            assert other in LAYERS[layer] | {layer}, f"{module} imports {name}"
        else:
            package = name.partition(".")[0]
            known = package in sys.stdlib_module_names or package in PACKAGES[layer]
            assert known, f"{module} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_layer_imports_by_statements_alone(path: Path) -> None:
    """No module is imported by a call, whose argument these rules could not read."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = {getattr(node, "id", ""), getattr(node, "attr", "")}
        assert not names & IMPORTERS, f"{path}:{getattr(node, 'lineno', 0)}"
    assert not {name for name in imports(path) if name.partition(".")[0] in IMPORTERS}


def test_every_layer_is_looked_at() -> None:
    """The rules are about modules that exist, and each layer has some."""
    looked_at = {
        layer_of(".".join(path.relative_to(ROOT).with_suffix("").parts)) for path in modules()
    }
    assert looked_at == set(LAYERS)


PRIVATE = re.compile(r"\b_[a-z]\w*")


def test_private_names_of_tornado_are_in_one_module() -> None:
    """Only `transport.private` imports any; for attributes of objects, mypy cannot tell."""
    for path in modules():
        if path.name == "private.py":
            continue
        for name in imports(path):
            assert not (name.startswith("tornado.") and PRIVATE.search(name)), f"{path}: {name}"
