"""Whether the declared preprocessing of a model of the user's own is that of its training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headbench.cache.reader import FeatureFile
from headbench.classify.doctor.model.own_backbone import (
    DECLARED_AS,
    SCALING_OF,
    examine_own_backbone,
    warn_of_scaling,
)
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources.folder import Folder
from headbench.extract.stage import extract_features
from tests.conftest import listen
from tests.own_models import SIZE_PX, trunk, write_pictures


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("declared") / "photos")


def features_of(model: Any, declared: str, photos: Path, folder: Path) -> Path:
    """A feature file of a model, with a declared preprocessing."""
    path, out = folder / "model.keras", folder / f"{declared}.h5"
    model.save(path)
    extract_features(photos, out, ExtractSettings(str(path), preprocessing=declared))
    return out


def with_pooling(base: Any) -> Any:
    keras = load_keras()
    return keras.Model(base.input, keras.layers.GlobalAveragePooling2D()(base.output))


# Those that differ in more than the order of the channels.
TRAINED_ON = ("caffe", "tf", "torch", "/255", "raw")


@pytest.mark.parametrize("scaling", TRAINED_ON)
def test_every_wrong_declaration_is_named_and_the_right_one_is_not(
    scaling: str, photos: Path, tmp_path: Path
) -> None:
    out = features_of(with_pooling(trunk(scaling)), DECLARED_AS[scaling], photos, tmp_path)
    with FeatureFile(out) as features:
        for declared, its in SCALING_OF.items():
            said = listen()
            said.clear()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    "headbench.classify.doctor.model.own_backbone._declared", lambda _, its=its: its
                )
                warn_of_scaling(features, Folder(photos))
            warnings = [line for line in said if line.startswith("WARNING: The model was trained")]
            if its == scaling:
                assert warnings == []
            else:
                assert f"than the declared one ({its})." in warnings[0], declared
                assert scaling in warnings[0].split(")")[0]


def test_the_doctor_of_the_run_names_it_too(photos: Path, tmp_path: Path) -> None:
    model = with_pooling(trunk("tf"))
    for declared, codes in (("0-1", ["wrong-scaling"]), ("tf", ["not-checked"])):
        with FeatureFile(features_of(model, declared, photos, tmp_path)) as features:
            findings = examine_own_backbone(features, photos).findings
        # The network is none that the doctor knows.
        assert [finding.code for finding in findings] == codes


def test_without_batch_normalization_accuracy_tells(tmp_path: Path) -> None:
    """A classifier of brightness, whose classes are those of the folder."""
    keras, rng, photos = load_keras(), np.random.default_rng(0), tmp_path / "photos"
    for number in range(60):
        level = 60 if number % 2 else 190
        pixels = np.clip(rng.normal(level, 20, (SIZE_PX, SIZE_PX, 3)), 0, 255).astype(np.uint8)
        path = photos / ("dark" if number % 2 else "light") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    layers = keras.layers
    stack = [layers.Conv2D(1, 1), layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((SIZE_PX, SIZE_PX, 3)), *stack, layers.Dense(2)])
    # Of pixels / 255: above 0.5 it is light, the second class.
    model.layers[0].set_weights([np.full((1, 1, 3, 1), 1 / 3), np.zeros(1)])
    model.layers[2].set_weights([np.array([[-1.0, 1.0]]), np.array([0.5, -0.5])])
    for declared, is_right in (("0-1", True), ("raw", False), ("tf", False)):
        out = features_of(model, declared, photos, tmp_path)
        with FeatureFile(out) as features:
            codes = [each.code for each in examine_own_backbone(features, photos).findings]
        assert ("trained-on-another-scaling" in codes) is not is_right, declared


def test_a_model_that_is_gone_is_said(photos: Path, tmp_path: Path) -> None:
    out = features_of(trunk(), "tf", photos, tmp_path)
    (tmp_path / "model.keras").unlink()
    with FeatureFile(out) as features:
        [finding] = examine_own_backbone(features, photos).findings
    assert finding.code == "not-checked"
