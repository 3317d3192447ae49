from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.doctor.model.measured import Condition
from headbench.classify.doctor.scalings import SCALINGS
from headbench.classify.origin.origin_images import (
    Extraction,
    Images,
    OriginSettings,
    extract_four,
    split_images,
)
from headbench.classify.origin.origin_model import digest
from headbench.classify.run import Run
from headbench.extract.errors import DataError
from headbench.extract.images.stream import image_batches
from headbench.extract.networks.backbone import create_backbone, reopen_backbone
from headbench.extract.networks.engines import relative_difference
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources.open import find_images
from headbench.extract.stage import extract_features
from tests.conftest import write_class_folders

RIGHT = Condition("caffe", by_batch=False)


def split(photos: Path, seed: int = 0) -> Images:
    identity = create_backbone("mean-color", "none", 16).identity
    settings = OriginSettings(seed=seed)
    return split_images(find_images(photos), identity, settings)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_splits_are_those_of_make_features(photos: Path, tmp_path: Path, seed: int) -> None:
    settings = ExtractSettings(backbone="mean-color", size_px=16, seed=seed)
    extract_features(photos, tmp_path / "features.h5", settings)
    images = split(photos, seed)
    with FeatureFile(tmp_path / "features.h5") as features:
        assert images.table.paths == features.table.paths
        for name in ("train", "val", "test"):
            np.testing.assert_array_equal(images.rows(name), features.rows(name))


def test_file_order_takes_the_first_fifth_of_each_class_and_never_test(photos: Path) -> None:
    images = split(photos)
    train, val = images.file_order_split()
    used = np.concatenate([images.rows("train"), images.rows("val")])
    assert sorted([*train, *val]) == sorted(used)
    for label in range(len(images.table.classes)):
        of_class = sorted(images.table.paths[row] for row in used if images.labels[row] == label)
        in_val = sorted(images.table.paths[row] for row in val if images.labels[row] == label)
        assert in_val == of_class[: int(0.2 * len(of_class))]


def test_classes_too_small_for_a_fifth_are_refused(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        n_per_class = 3 if name == "train" else 1
        first_seed = len(name) * 100_000
        write_class_folders(tmp_path / "photos" / name, n_per_class, first_seed)
    with pytest.raises(DataError, match="at least 5 images in train and val together"):
        split(tmp_path / "photos").file_order_split()


def extract(photos: Path, base: Any, seed: int = 0) -> Extraction:
    return extract_four(base, SCALINGS["caffe"], split(photos), 8, seed)


def used(extraction: Extraction) -> np.ndarray:
    images = extraction.images
    return np.concatenate([images.rows("train"), images.rows("val")])


def test_done_right_an_embedding_is_that_of_the_network_with_its_own_preprocessing(
    photos: Path, base: Any
) -> None:
    extraction = extract(photos, base)
    rows = used(extraction)
    # Pixels as `make features` gives them, through the preprocessing that it puts before a network.
    whole = KerasBackbone("resnet50", "random", 32).with_preprocessing(base)
    batches = image_batches(extraction.images.files(rows), 32, 16, lambda *_: pytest.fail("file"))
    expected = np.concatenate([whole.predict_on_batch(pixels) for _, pixels in batches])
    assert relative_difference(extraction.embeddings[RIGHT][rows], expected) < 1e-4


@pytest.mark.long
def test_done_right_the_embeddings_are_those_of_make_features(
    network_run: Run, network_photos: Path
) -> None:
    with FeatureFile(network_run.features_path) as features:
        backbone = reopen_backbone(features.identity, features.config.weights)
    assert isinstance(backbone, KerasBackbone)
    images = split(network_photos)
    extraction = extract_four(backbone.base(), SCALINGS["tf"], images, 8, 0)
    rows = used(extraction)
    with FeatureFile(network_run.features_path) as features:
        assert features.table.paths == extraction.images.table.paths
        expected = features.read(rows)
    found = extraction.embeddings[Condition("tf", by_batch=False)][rows]
    assert relative_difference(found, expected) < 1e-4


def test_only_batch_statistics_make_an_embedding_depend_on_its_neighbours(
    photos: Path, base: Any
) -> None:
    first, second = (extract(photos, base, seed) for seed in (0, 1))
    rows = used(first)
    for name in ("caffe", "/255"):
        moving, batch = Condition(name, False), Condition(name, True)
        same = relative_difference(second.embeddings[moving][rows], first.embeddings[moving][rows])
        other = relative_difference(second.embeddings[batch][rows], first.embeddings[batch][rows])
        assert same < 1e-5
        assert other > 1e-2


def test_four_extractions_differ_and_leave_the_network_as_it_was(photos: Path, base: Any) -> None:
    before = digest(base)
    extraction = extract(photos, base)
    assert digest(base) == before
    assert not any(layer.trainable for layer in base.layers)
    assert len(extraction.embeddings) == 4
    right = extraction.embeddings[RIGHT][used(extraction)]
    for condition, embeddings in extraction.embeddings.items():
        if condition != RIGHT:
            assert relative_difference(embeddings[used(extraction)], right) > 1e-2


def test_a_file_that_cannot_be_decoded_is_left_out_and_its_neighbours_are_unharmed(
    tmp_path: Path, base: Any
) -> None:
    photos = write_class_folders(tmp_path / "photos", n_per_class=20)
    whole = extract(photos, base)
    (photos / "green/000a.png").write_bytes(b"no picture")
    extraction = extract(photos, base)
    assert [each.path for each in extraction.images.table.rejected] == ["green/000a.png"]
    assert extraction.images.table.paths == whole.images.table.paths
    rows = used(whole)
    found = extraction.embeddings[RIGHT][rows]
    assert relative_difference(found, whole.embeddings[RIGHT][rows]) < 1e-5
