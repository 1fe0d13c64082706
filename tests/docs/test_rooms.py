"""How the package's rooms stack: no module imports, by whatever way, what imports it, and no arrow points up."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import fastconv

PACKAGE = Path(fastconv.__file__).parent

#: From the ground up: a module imports its own room and those before it. Files and folders of the package are rooms.
ROOMS = (
    *("errors", "_version", "_openmp", "checks", "interrupts", "atomic", "tensor_file", "random", "registry"),
    *("reference", "_kernels", "ops", "config"),
    *("initializers", "regularizers", "layers", "losses", "metrics", "optimizers", "callbacks"),
    *("datasets", "preprocessing", "utils", "data"),
    *("graph", "training", "testing", "visualization", "interop", "models", "applications"),
    "fastconv",  # the package itself, from which everything can be had
    *("command", "bench", "demo", "cli"),
)


def find_modules() -> dict[str, Path]:
    """Every module by its name, compiled ones by their sources'; packages are their ``__init__.py``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py*")):
        if path.suffix in (".py", ".pyx"):
            parts = ("fastconv", *path.relative_to(PACKAGE).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements, also those inside functions and under ``if TYPE_CHECKING``."""
    return (child for child in ast.walk(node) if isinstance(child, ast.Import | ast.ImportFrom))


def imports(name: str, source: str, modules: set[str], package: bool) -> set[str]:
    """Modules of fastconv that a module names in its imports: ``from a import b`` is a.b where that is a module."""
    found = set()
    for statement in statements(ast.parse(source)):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
            continue
        base = statement.module or ""
        if statement.level:
            parts = name.split(".")[: -statement.level + package or None]
            base = ".".join([*parts, base] if base else parts)
        names = {f"{base}.{alias.name}" for alias in statement.names}
        found |= names & modules
        if not names <= modules:
            found.add(base)
    return (found & modules) - {name}


def arrows() -> dict[str, set[str]]:
    """What every module imports; the package itself tells type checkers of all, and loads it when touched."""
    modules = find_modules()
    del modules["fastconv"]
    return {
        name: imports(name, path.read_text(encoding="utf-8"), set(modules), path.name == "__init__.py")
        if path.suffix == ".py"
        else set()
        for name, path in modules.items()
    }


def room_of(module: str) -> str:
    """The package's first folder or file in a module's name; the package itself is the room above all."""
    return module.split(".")[1] if "." in module else "fastconv"


def upward(graph: dict[str, set[str]]) -> set[tuple[str, str]]:
    """(module, room) where a module imports a room that does not stand below its own."""
    height = {room: number for number, room in enumerate(ROOMS)}
    return {
        (module, room_of(other))
        for module, others in graph.items()
        for other in others
        if height[room_of(other)] > height[room_of(module)]
    }


def test_every_room_has_its_place() -> None:
    rooms = {room_of(name) for name in find_modules()}
    assert len(rooms) > 20
    assert rooms - set(ROOMS) == set()


def test_no_module_imports_what_imports_it() -> None:
    TopologicalSorter(arrows()).prepare()  # CycleError says who leads to whom


def test_no_arrow_points_up() -> None:
    assert upward(arrows()) == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import fastconv.ops", {"fastconv.ops"}),
        ("from fastconv import ops, Model", {"fastconv.ops", "fastconv"}),
        ("from fastconv.ops import conv2d", {"fastconv.ops"}),
        ("def f():\n    from fastconv.ops import linear as l", {"fastconv.ops.linear"}),
        (
            "try:\n    from . import base\nexcept ImportError:\n    from .. import errors",
            {"fastconv.layers.base", "fastconv.errors"},
        ),
        ("from .base import Layer\nfrom ..ops import linear", {"fastconv.layers.base", "fastconv.ops.linear"}),
        ("if TYPE_CHECKING:\n    import fastconv.ops", {"fastconv.ops"}),
        ("import numpy, fastconv as fc", {"fastconv"}),
    ],
)
def test_imports_are_seen_in_every_form(source: str, found: set[str]) -> None:
    modules = {"fastconv", "fastconv.errors", "fastconv.ops", "fastconv.ops.linear", "fastconv.layers.base"}
    assert imports("fastconv.layers.dense", source, modules, package=False) == found


def test_circles_and_arrows_up_are_seen() -> None:
    """Or the tests above prove nothing."""
    graph = {"fastconv.ops.a": {"fastconv.ops.b"}, "fastconv.ops.b": {"fastconv.models"}, "fastconv.models": set()}
    TopologicalSorter(graph).prepare()
    assert upward(graph) == {("fastconv.ops.b", "models")}
    graph["fastconv.models"].add("fastconv.ops.a")
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()
