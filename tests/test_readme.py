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
from headbench.classify.train_settings import combine, configured_heads
from headbench.extract.networks.applications import CAFFE, NETWORKS, RESNET, Network
from headbench.extract.networks.keras_network import KerasBackbone
from tests.classify.test_heads import separable
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```\w*\n(.*?)```", README, flags=re.DOTALL)


def block(beginning: str) -> str:
    [found] = [each for each in BLOCKS if each.lstrip().startswith(beginning)]
    return found


def test_every_command_in_it_is_a_target_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, flags=re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z0-9-]+)", README, flags=re.MULTILINE)
    assert {"demo", "test", "features", "heads", "report", "finetune", "predict"} <= set(named)
    assert set(named) <= targets


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in BLOCKS[0]
    lines = (ROOT / ".ci/run").read_text("utf-8").splitlines()
    assert {"make check", "make demo", "make test"} <= set(lines)


def test_the_head_in_it_works(tmp_path: Path) -> None:
    names = {"Head": Head, "np": np, "softmax": softmax, "cdist": cdist}
    names |= {"save_arrays": save_arrays, "load_arrays": load_arrays}
    exec(block("class NearestMean"), names)  # noqa: S102, our own text
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


def test_the_backbone_in_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"Network": Network, "CAFFE": CAFFE, "RESNET": RESNET}
    [(name, row)] = eval("{" + block('"resnet152"') + "}", names).items()  # noqa: S307, our own text
    monkeypatch.setitem(NETWORKS, name, row)
    network = KerasBackbone(name, "random", 32).network()
    assert network.output_shape == (None, row.dim)


def test_the_file_in_it_has_todays_layout() -> None:
    shown = block(">>> import json, h5py")
    for name in DATASETS:
        assert f'"{name}"' in shown or name == "rejected/reason"
    assert f"(np.bytes_(b'{FORMAT}'), np.int64({FORMAT_VERSION})," in shown


@pytest.mark.parametrize(
    "name",
    ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
    + [f"docs/{page}.md" for page in ("validation-at-chance", "sources", "scale")],
)
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / name).parent / target).exists(), target
