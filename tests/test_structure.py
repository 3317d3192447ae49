"""The house as drawn in the design: which room may know which, and under which names."""

import ast
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import ROOT, needs_git

# Each room with those that it may import.
MAY_IMPORT: dict[str, set[str]] = {
    "cache": set(),
    "extract": {"cache"},
    "classify": {"cache", "extract"},
    "headbench": {"cache", "extract", "classify"},
}
SOURCES = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]
TESTS = [path for room in MAY_IMPORT for path in sorted((ROOT / "tests" / room).rglob("*.py"))]
# Every layer has a file of its errors; packages and commands begin in files of these names.
SHARED_NAMES = {"__init__.py", "__main__.py", "errors.py"}
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]


def name_of(path: Path) -> str:
    """The name that a file of the source is imported by."""
    parts = [part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"]
    return ".".join(parts if parts[0] == "headbench" else ["headbench", *parts])


MODULES = {name_of(path) for path in SOURCES}


def room_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else "headbench"


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


def rooms(names: Iterable[str]) -> set[str]:
    return {room_of(name) for name in names}


def test_imports_are_seen() -> None:
    assert "headbench.cache.reader" in imported(ROOT / "extract/plan.py")
    assert rooms(MODULES) == set(MAY_IMPORT)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_rooms_know_only_the_rooms_below(path: Path) -> None:
    room = room_of(name_of(path))
    assert rooms(imported(path)) <= MAY_IMPORT[room] | {room}


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_tests_of_a_room_know_only_the_rooms_below(path: Path) -> None:
    room = path.relative_to(ROOT / "tests").parts[0]
    assert rooms(imported(path)) <= MAY_IMPORT[room] | {room}


def test_no_module_imports_itself_in_a_circle() -> None:
    arrows = {name_of(path): imported(path) for path in SOURCES}
    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        for name in leaves:
            del arrows[name]
    assert arrows == {}


def test_no_two_files_share_a_name() -> None:
    names = Counter(path.name for path in SOURCES if path.name not in SHARED_NAMES)
    assert [name for name, n_files in names.items() if n_files > 1] == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_tensorflow_is_imported_in_one_place(path: Path) -> None:
    if path.name == "keras_runtime.py":
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not [name for name in names if re.match(r"(tensorflow|keras|fcntl)\b", name)]


@needs_git
def test_nothing_large_is_kept_in_git() -> None:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    paths = [ROOT / name for name in names.split("\0") if name]
    assert paths
    assert [path for path in paths if path.exists() and path.stat().st_size > 200_000] == []


def test_every_folder_of_the_source_is_installed() -> None:
    folders = {name_of(path / "__init__.py") for path in {path.parent for path in SOURCES}}
    assert set(SETTINGS["packages"]) == folders
    assert all((path.parent / "__init__.py").exists() for path in SOURCES)


def test_whatever_is_no_python_is_installed_too() -> None:
    kept = {
        path
        for package, names in SETTINGS["package-data"].items()
        for name in names
        for path in (ROOT / package.removeprefix("headbench.").replace(".", "/")).glob(name)
    }
    others = {
        path
        for room in MAY_IMPORT
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert len(others) > 5
    assert others == kept


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_text_is_the_same_on_every_system(path: Path) -> None:
    """By default Windows takes another encoding, and writes other ends of lines."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            given = [ast.unparse(each) for each in (*node.args, *node.keywords)]
            if node.func.attr == "write_text":
                assert given[1:] == ["'utf-8'", "newline='\\n'"]
            if node.func.attr == "read_text":
                assert "'utf-8'" in given
