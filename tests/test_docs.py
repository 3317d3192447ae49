"""What README.md and docs/ say is what there is: commands, code, files and links."""

import argparse
import functools
import json
import re
import runpy
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.datasets import make_blobs

import headbench
from headbench import notebook
from headbench.cache.format import DATASETS, FORMAT, FORMAT_VERSION
from headbench.classify.arrays import load_arrays, save_arrays
from headbench.classify.export.examples import FILES_EXAMPLE
from headbench.classify.heads.head import Head
from headbench.classify.heads.parameters import POSITIVE
from headbench.classify.train_settings import combine, configured_heads
from headbench.command_line import parser
from headbench.extract.networks.applications import NETWORKS, RESNET, TF, Network
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import ROOT
from tests.pages import (
    PAGES,
    Block,
    all_blocks,
    blocks,
    commands,
    inline_code,
    simple_commands,
    text_of,
)

GUIDE = text_of("CONTRIBUTING.md")
MAKEFILE = text_of("Makefile")
TARGETS = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, flags=re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z][A-Z0-9_]*) *\?=", MAKEFILE, flags=re.MULTILINE))
LANGUAGES = {"sh", "console", "python", "pycon", "text", "toml"}
# Programs of others that a command may call.
PROGRAMS = {"pip", "curl", "find", "dask", "docker", "mkdir"}
DOCKER_OPTIONS = {"--build-arg", "--rm", "--user", "--volume"}
# Pages whose Python another test runs.
RUN_ELSEWHERE = {
    "docs/sources.md": "tests/extract/test_python_examples.py",
    "docs/validation-at-chance.md": "tests/test_validation_page.py",
}
RUN_HERE = {"README.md", "CONTRIBUTING.md", "docs/file-format.md", "docs/export.md"}


def ids(block: Block) -> str:
    return str(block)


def verbs() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    actions = parser()._actions
    [found] = [each for each in actions if isinstance(each, argparse._SubParsersAction)]
    return found.choices


def parse(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Parse a headbench command as the program does."""
    try:
        parser().parse_args(words[1:])
    except SystemExit as end:  # --help ends with 0
        if end.code:
            pytest.fail(f"{shlex.join(words)}: {capsys.readouterr().err}")


def check_make(words: list[str]) -> None:
    """A target and variables that the Makefile has; words with capitals stand for any."""
    targets = [word for word in words[1:] if "=" not in word and word.islower()]
    assert set(targets) <= TARGETS, words
    assert {word.split("=")[0] for word in words if "=" in word} <= VARIABLES, words


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 250


@pytest.mark.parametrize("block", all_blocks(), ids=ids)
def test_every_block_says_what_is_in_it(block: Block) -> None:
    assert block.language in LANGUAGES


@pytest.mark.parametrize("block", all_blocks("sh", "console"), ids=ids)
def test_every_command_is_one_that_there_is(
    block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    found = list(commands(block))
    assert found
    for words in found:
        if words[0] == "headbench":
            parse(words, capsys)
        elif words[:2] == ["docker", "run"]:  # behind the image's name stands a command
            parse(words[words.index("headbench") :], capsys)
        elif words[0] == "make":
            check_make(words)
        else:
            assert words[0] in PROGRAMS, words


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_in_the_text_are_there_too(
    page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {option for each in verbs().values() for option in each._option_string_actions}
    for code in inline_code(page):
        if re.fullmatch("headbench [a-z]+", code):
            assert code.split()[1] in verbs()
        elif code.startswith("headbench "):
            [words] = simple_commands(code)
            parse(words, capsys)
        elif code.startswith("make "):
            [words] = simple_commands(code)
            check_make(words)
        elif code.startswith("--"):
            assert code.split()[0] in options | DOCKER_OPTIONS, code


def test_ci_runs_the_commands_of_the_readme() -> None:
    lines = set((ROOT / ".ci/run").read_text("utf-8").splitlines())
    assert {"make check", "make demo", "make test", "make docs"} <= lines
    assert "make test" in "".join(block.text for block in blocks("README.md", "sh"))


def test_every_page_with_python_has_a_test_that_runs_it() -> None:
    pages = {block.page for block in all_blocks("python")}
    assert pages == RUN_HERE | set(RUN_ELSEWHERE)
    for page, test in RUN_ELSEWHERE.items():
        assert page in (ROOT / test).read_text("utf-8")


def test_the_reference_names_all_that_is_public() -> None:
    assert {f"hb.{name}" for name in headbench.__all__} <= set(inline_code("docs/reference.md"))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: Path) -> Path:
    """The working folder: it holds ``photos`` and ``runs/photos/features.h5``."""
    monkeypatch.chdir(tmp_path)
    settings = ExtractSettings(backbone="mean-color", size_px=16)
    extract_features(photos.relative_to(tmp_path), Path("runs/photos/features.h5"), settings)
    return tmp_path


NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Title\n", "Text."]},
        {
            "cell_type": "code",
            "source": ["run.heads()\n", "1"],
            "outputs": [
                {"output_type": "stream", "text": ["a\n", "b\n"]},
                {"data": {"text/html": ["<b>1</b>"], "text/plain": ["1"]}},
                {"data": {"image/png": "aGk=\n", "text/plain": ["<Figure>"]}},
                {"data": {"text/plain": ["2"]}},
            ],
        },
        {"cell_type": "code", "source": [], "outputs": []},
    ]
}
SHOWN = """# Title
Text.

````python
run.heads()
1
````

````text
a
b
````

<div>
<b>1</b>
</div>

<img alt="" src="data:image/png;base64,aGk=">

````text
2
````"""


def test_a_notebook_is_shown_with_its_outputs() -> None:
    hook = runpy.run_path(str(ROOT / "docs/notebook_page.py"))
    assert hook["as_markdown"](json.dumps(NOTEBOOK)) == SHOWN


def test_the_notebook_of_the_readme_runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TensorFlow: a smaller network, and another head for the one of Keras."""
    [block] = blocks("README.md", "python")
    small = functools.partial(notebook.features, backbone="mean-color")
    monkeypatch.setattr(notebook, "features", small)
    shutil.copy(runs / "photos/red/000.png", "a.jpg")
    code = block.text.replace("size=96", "size=16").replace('"mlp"', '"ridge"')
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102, our own text
    assert sorted(each.record.name for each in names["run"].trained()) == ["logreg", "ridge"]
    assert Path("runs/photos/report/index.html").exists()


@pytest.mark.usefixtures("runs")
def test_a_feature_file_is_read_as_the_page_says() -> None:
    [block] = blocks("docs/file-format.md", "python")
    names: dict[str, object] = {}
    exec(block.text, names)  # noqa: S102, our own text
    assert names["X"].shape == (len(names["y"]), 3)
    assert len(names["y"]) > 0


def test_the_example_of_an_export_is_that_in_its_own_readme() -> None:
    """tests/classify/export/test_alone.py runs that."""
    [block] = blocks("docs/export.md", "python")
    assert block.text == FILES_EXAMPLE


def block(page: str, beginning: str) -> str:
    [found] = [each.text for each in blocks(page) if each.text.lstrip().startswith(beginning)]
    return found


def test_the_head_in_the_guide_works(tmp_path: Path) -> None:
    names = {"Head": Head, "np": np, "softmax": softmax, "cdist": cdist, "POSITIVE": POSITIVE}
    names |= {"save_arrays": save_arrays, "load_arrays": load_arrays}
    exec(block("CONTRIBUTING.md", "class NearestMean"), names)  # noqa: S102, our own text
    X, y = make_blobs(200, centers=5, random_state=0)
    X, X_val = np.split(X.astype(np.float32), 2)
    y, y_val = np.split(y, 2)
    head = names["NearestMean"]().fit(X, y, X_val, y_val)
    assert head.score(X_val, y_val) > 0.9
    head.save(tmp_path)
    loaded = names["NearestMean"].load(tmp_path)
    np.testing.assert_array_equal(loaded.predict_proba(X_val), head.predict_proba(X_val))


def test_the_settings_in_the_page_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "heads.toml"
    path.write_text(block("docs/heads.md", 'heads = ["logreg"'), "utf-8")
    heads = configured_heads(*combine({}, path))
    assert list(heads) == ["logreg", "wide", "vote"]
    assert heads["wide"].hidden == [1024]
    assert heads["logreg"].class_weight == "balanced"


def backbone_in_the_guide() -> tuple[str, Network]:
    names = {"Network": Network, "TF": TF, "RESNET": RESNET}
    rows = eval("{" + block("CONTRIBUTING.md", '"resnet101v2"') + "}", names)  # noqa: S307, our own text
    [row] = rows.items()
    return row


def test_the_backbone_in_the_guide_is_a_row_that_is_not_there_yet() -> None:
    name, row = backbone_in_the_guide()
    assert isinstance(row, Network)
    assert name not in NETWORKS


@pytest.mark.long
def test_the_backbone_in_the_guide_works(monkeypatch: pytest.MonkeyPatch) -> None:
    name, row = backbone_in_the_guide()
    monkeypatch.setitem(NETWORKS, name, row)
    network = KerasBackbone(name, "random", 32).network()
    assert network.output_shape == (None, row.dim)


def test_the_file_in_the_page_has_todays_layout() -> None:
    shown = block("docs/file-format.md", ">>> import json, h5py")
    for name in DATASETS:
        assert f'"{name}"' in shown or name == "rejected/reason"
    assert f"(np.bytes_(b'{FORMAT}'), np.int64({FORMAT_VERSION})," in shown


def test_the_guide_lists_every_folder_of_the_source() -> None:
    tree = block("CONTRIBUTING.md", "headbench/ ")
    rooms = ("headbench", "cache", "extract", "classify")
    there = {path.parent for room in rooms for path in (ROOT / room).rglob("__init__.py")}
    assert {line.split()[0] for line in tree.splitlines()} == {
        f"{path.relative_to(ROOT).as_posix()}/" for path in there
    }


def test_the_guide_names_files_that_are_there() -> None:
    named = re.findall(r"`([\w./]+(?:\.(?:py|html|md|txt|toml)|/))`", GUIDE)
    assert {"classify/heads/registry.py", "tests/test_structure.py"} <= set(named)
    folders = (ROOT, ROOT / "classify/doctor")  # the section on findings names files of the second
    missing = [
        name
        for name in named
        if not name.startswith("runs/") and not any((folder / name).exists() for folder in folders)
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_source_that_a_page_names_are_there(page: str) -> None:
    folders = ("cache", "classify", "extract", "headbench", "tests", "docs")
    named = [code for code in inline_code(page) if re.match(rf"({'|'.join(folders)})/\S*$", code)]
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^):]+)\)", text_of(page)):
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def anchors(path: Path) -> Iterator[str]:
    """What links to the headings of a page end in, as mkdocs and GitHub make them."""
    text = path.read_text("utf-8").replace('--8<-- "CONTRIBUTING.md"', GUIDE)
    for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
