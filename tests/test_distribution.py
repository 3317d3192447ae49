"""What is published: the source distribution, and the wheel that is built from it."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from email import message_from_string
from importlib import import_module
from pathlib import Path

import pytest

from tests.conftest import ROOT, needs_git
from tests.test_structure import MAY_IMPORT, MODULES

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# Settings of tools that somebody who has no checkout does not run.
OF_A_CHECKOUT = {".gitignore", ".pre-commit-config.yaml"}
BUILD = "import setuptools.build_meta as build; build.build_{}({!r})"
# Where Markdown or HTML leads to: an inline link, a picture, a reference.
TARGET = re.compile(r"\]\(([^)\s]+)|(?:src|href)=\"([^\"]+)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)


def build(kind: str, source: Path, into: Path) -> Path:
    """Build a distribution of a folder, and return its path."""
    code = BUILD.format(kind, str(into))
    subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, check=True)
    [built] = into.iterdir()
    return built


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution of this checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    # A copy: setuptools writes into the folder that it builds.
    ignored = shutil.ignore_patterns("__pycache__")
    for name in (*MAY_IMPORT, "tests", "docs", ".ci"):
        shutil.copytree(ROOT / name, folder / "checkout" / name, ignore=ignored)
    for path in filter(Path.is_file, ROOT.iterdir()):
        shutil.copy(path, folder / "checkout")
    (folder / "built").mkdir()
    sdist = build("sdist", folder / "checkout", folder / "built")
    shutil.unpack_archive(sdist, folder, filter="data")
    return folder / f"headbench-{PROJECT['version']}"


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "built").mkdir()
    shutil.unpack_archive(build("wheel", source, folder / "built"), folder / "site", "zip")
    return folder / "site"


@pytest.fixture(scope="module")
def about(installed: Path) -> Path:
    """The folder of its metadata."""
    return installed / f"headbench-{PROJECT['version']}.dist-info"


@needs_git
def test_the_source_distribution_has_the_files_of_git_and_no_others(source: Path) -> None:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    kept = {name for name in names.split("\0") if (ROOT / name).is_file()} - OF_A_CHECKOUT
    found = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    made = {name for name in found if name in ("PKG-INFO", "setup.cfg") or ".egg-info/" in name}
    assert found - made == kept


def test_the_wheel_has_one_name(installed: Path) -> None:
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"headbench"}
    found = {path.relative_to(installed) for path in installed.rglob("*.py")}
    assert {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in found} == (
        MODULES
    )
    assert (installed / "headbench/classify/report/schema.json").is_file()


def test_type_checkers_find_the_annotations_of_the_wheel(installed: Path) -> None:
    assert (installed / "headbench/py.typed").is_file()


def test_the_metadata_say_what_it_is(about: Path) -> None:
    found = message_from_string((about / "METADATA").read_text("utf-8"))
    assert (found["Name"], found["Version"]) == ("headbench", PROJECT["version"])
    assert found["License-Expression"] == "MIT"
    assert found["Keywords"].split(",") == PROJECT["keywords"]
    assert found.get_all("Classifier") == PROJECT["classifiers"]
    assert found["Description-Content-Type"] == "text/markdown"


def targets(markdown: str) -> Iterator[str]:
    """Where the links and pictures of a page lead, code left out."""
    for found in TARGET.findall(re.sub(r"```.*?```|`[^`\n]*`", "", markdown, flags=re.DOTALL)):
        yield "".join(found)


def test_no_link_of_the_description_leads_to_a_page_that_an_index_does_not_have(
    about: Path,
) -> None:
    description = message_from_string((about / "METADATA").read_text("utf-8")).get_payload()
    assert isinstance(description, str)
    assert [each for each in targets(description) if not re.match(r"https?://|#", each)] == []
    # Code stays as it stands.
    readme = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"```.*?```", readme, flags=re.DOTALL)
    assert blocks
    assert all(block in description for block in blocks)


def test_its_commands_lead_to_functions(about: Path) -> None:
    found = ConfigParser()
    found.read_string((about / "entry_points.txt").read_text("utf-8"))
    scripts = dict(found["console_scripts"])
    assert scripts == PROJECT["scripts"]
    for target in scripts.values():
        module, _, name = target.partition(":")
        assert callable(getattr(import_module(module), name))


def test_files_of_the_users_own_with_our_old_names_break_nothing(
    installed: Path, tmp_path: Path
) -> None:
    for name in ("cache", "extract", "classify"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong file')")
    code = (
        f"import sys; sys.path.insert(1, {str(installed)!r}); "
        "import headbench.extract.stage, headbench.cache.reader; "
        "import headbench.classify.run as run; print(run.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(installed / "headbench/classify/run.py")


def test_the_citation_names_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {PROJECT['version']}\n" in citation
    assert f"\nabstract: {PROJECT['description']}\n" in citation
    assert f"\nlicense: {PROJECT['license']}\n" in citation
    assert re.findall(r"^  - (?!name)(.*)$", citation, re.MULTILINE) == PROJECT["keywords"]
