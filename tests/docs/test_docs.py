"""Documentation that can go wrong: docstrings of public names, code and file names in README and CONTRIBUTING."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import fastconv

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fastconv.__path__, "fastconv.")
    if not any(part.startswith("_") for part in module.name.split("."))
)


def public_names(module):
    """Public functions and classes that a module defines or re-exports from fastconv."""
    names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
    for name in names:
        value = getattr(module, name)
        if (inspect.isclass(value) or callable(value)) and (getattr(value, "__module__", "") or "").startswith(
            "fastconv"
        ):
            yield name, value


def methods(cls):
    """Public methods and properties that a class defines itself and no base class documents."""
    for name, value in vars(cls).items():
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property | classmethod)):
            inherited = any(name in vars(base) for base in cls.__mro__[1:])
            if not inherited:
                yield name, getattr(cls, name)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_has_a_docstring(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    silent = [f"{name}.{key}" for key, value in public_names(module) if not inspect.getdoc(value)]
    for key, value in public_names(module):
        if inspect.isclass(value):
            silent += [f"{name}.{key}.{method}" for method, member in methods(value) if not inspect.getdoc(member)]
    assert silent == []


def code_blocks(name):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("name", "count"), [("README.md", 4), ("CONTRIBUTING.md", 1)])
def test_code_blocks_run(name, count, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = code_blocks(name)
    assert len(blocks) == count
    namespace = {"__name__": "documentation"}
    for block in blocks:
        exec(compile(block, name, "exec"), namespace)  # one after the other, as a reader would


def test_the_first_model_of_the_readme_learns(capsys):
    fastconv.utils.set_random_seed(0)
    namespace = {"__name__": "documentation"}
    exec(compile(code_blocks("README.md")[0], "README.md", "exec"), namespace)
    printed = capsys.readouterr().out
    accuracy = float(re.search(r"loss, accuracy: [\[(][^,]*, (?:np\.float\d+\()?([0-9.]+)", printed).group(1))
    assert accuracy > 0.93


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_files_that_are_named_exist(name):
    text = re.sub(r"^```python.*?^```", "", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`((?:fastconv|csrc|tests|tutorials|tools|\.ci)/[\w./]*)`", text))
    assert named
    missing = {path for path in named if not (ROOT / path).exists() and "foo" not in path}
    assert missing == set()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_that_are_named_exist(name):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    text = (ROOT / name).read_text()
    # In code alone, inline or at the start of an indented line: prose makes many things.
    named = re.findall(r"(?:`|^ {4})make((?: [a-z][\w-]*)+)", text, flags=re.MULTILINE)
    assert named
    assert {target for line in named for target in line.split()} - targets == set()


def test_everything_in_all_exists():
    for name in MODULES:
        module = importlib.import_module(name)
        missing = [public for public in getattr(module, "__all__", ()) if not hasattr(module, public)]
        assert missing == [], name
