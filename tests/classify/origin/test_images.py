from pathlib import Path

import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.origin.images import Images, split_images
from classify.origin.settings import OriginSettings
from extract.backbones import create_backbone
from extract.errors import DataError
from extract.settings import ExtractSettings
from extract.sources.open import find_images
from extract.stage import extract_features
from tests.conftest import write_class_folders


def split(photos: Path, seed: int = 0) -> Images:
    identity = create_backbone("mean-color", "none", 16).identity
    settings = OriginSettings(seed=seed)
    return split_images(find_images(photos), identity, settings, lambda _: None)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_splits_are_those_of_make_features(photos: Path, tmp_path: Path, seed: int) -> None:
    settings = ExtractSettings(backbone="mean-color", size_px=16, seed=seed)
    extract_features(photos, tmp_path / "features.h5", settings, lambda _: None)
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
