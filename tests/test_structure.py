"""The house as drawn in the design: which room may know which."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

MAY_IMPORT = {"cache": set(), "extract": {"cache"}, "classify": {"cache", "extract"}}
SOURCES = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path) for path in SOURCES}


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & MODULES) or {node.module}
    return found & MODULES


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_rooms_know_only_the_rooms_below(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    rooms = {name.split(".")[0] for name in imported(path)}
    assert rooms <= MAY_IMPORT[room] | {room}


def test_no_module_imports_itself_in_a_circle() -> None:
    arrows = {name_of(path): imported(path) for path in SOURCES}
    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        for name in leaves:
            del arrows[name]
    assert arrows == {}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_tensorflow_is_imported_in_one_place(path: Path) -> None:
    if path.name == "keras_runtime.py":
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not [name for name in names if re.match(r"(tensorflow|keras)\b", name)]


def test_nothing_large_is_kept_in_git() -> None:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    paths = [ROOT / name for name in names.split("\0") if name]
    assert paths
    assert [path for path in paths if path.exists() and path.stat().st_size > 200_000] == []


def test_whatever_is_no_python_is_installed_too() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]
    kept = {
        path
        for package, names in patterns.items()
        for name in names
        for path in (ROOT / package.replace(".", "/")).glob(name)
    }
    others = {
        path
        for room in MAY_IMPORT
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert len(others) > 5
    assert others == kept
