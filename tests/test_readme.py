"""What the README promises is what there is."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import softmax

from headbench.cache.format import DATASETS, FORMAT, FORMAT_VERSION
from headbench.classify.arrays import load_arrays, save_arrays
from headbench.classify.heads.head import Head
from headbench.classify.heads.parameters import POSITIVE
from headbench.classify.train_settings import combine, configured_heads
from headbench.extract.networks.applications import CAFFE, NETWORKS, RESNET, Network
from headbench.extract.networks.keras_network import KerasBackbone
from tests.classify.test_heads import separable
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def blocks(text: str) -> list[str]:
    return re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)


def block(beginning: str, text: str = README) -> str:
    [found] = [each for each in blocks(text) if each.lstrip().startswith(beginning)]
    return found


def test_every_command_in_it_is_a_target_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, flags=re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z0-9-]+)", README, flags=re.MULTILINE)
    assert {"demo", "test", "features", "heads", "report", "finetune", "predict"} <= set(named)
    assert set(named) <= targets


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in blocks(README)[0]
    lines = (ROOT / ".ci/run").read_text("utf-8").splitlines()
    assert {"make check", "make demo", "make test"} <= set(lines)


@pytest.mark.parametrize("text", [README, GUIDE], ids=["README", "CONTRIBUTING"])
def test_the_head_in_it_works(text: str, tmp_path: Path) -> None:
    names = {"Head": Head, "np": np, "softmax": softmax, "cdist": cdist, "POSITIVE": POSITIVE}
    names |= {"save_arrays": save_arrays, "load_arrays": load_arrays}
    exec(block("class NearestMean", text), names)  # noqa: S102, our own text
    X, y, X_val, y_val = separable(5)
    head = names["NearestMean"]().fit(X, y, X_val, y_val)
    assert head.score(X_val, y_val) > 0.9
    head.save(tmp_path)
    loaded = names["NearestMean"].load(tmp_path)
    np.testing.assert_array_equal(loaded.predict_proba(X_val), head.predict_proba(X_val))


def test_the_settings_in_it_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "heads.toml"
    path.write_text(block('heads = ["logreg"'), "utf-8")
    heads = configured_heads(*combine({}, path))
    assert list(heads) == ["logreg", "wide", "vote"]
    assert heads["wide"].hidden == [1024]
    assert heads["logreg"].class_weight == "balanced"


def row_in(text: str) -> tuple[str, Network]:
    names = {"Network": Network, "CAFFE": CAFFE, "RESNET": RESNET}
    [found] = eval("{" + block('"resnet152"', text) + "}", names).items()  # noqa: S307, our own text
    return found


def test_the_guide_has_the_same_backbone() -> None:
    assert row_in(GUIDE) == row_in(README)


def test_the_backbone_in_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    name, row = row_in(README)
    monkeypatch.setitem(NETWORKS, name, row)
    network = KerasBackbone(name, "random", 32).network()
    assert network.output_shape == (None, row.dim)


def test_the_file_in_it_has_todays_layout() -> None:
    shown = block(">>> import json, h5py")
    for name in DATASETS:
        assert f'"{name}"' in shown or name == "rejected/reason"
    assert f"(np.bytes_(b'{FORMAT}'), np.int64({FORMAT_VERSION})," in shown


def test_the_guide_lists_every_folder_of_the_source() -> None:
    tree = block("headbench/ ", GUIDE)
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


@pytest.mark.parametrize(
    "name",
    ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
    + [f"docs/{page}.md" for page in ("validation-at-chance", "sources", "scale")],
)
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / name).parent / target).exists(), target
