from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.server.serving_engine import Neighbours
from headbench.classify.run import Run
from headbench.extract.errors import UnusableImageError
from headbench.extract.sources.folder import Folder


def test_the_nearest_are_those_of_a_search_by_hand(served_run: Run, served_photos: Path) -> None:
    with FeatureFile(served_run.features_path) as features:
        neighbours = Neighbours(features, Folder(served_photos))
        train, labels = features.load("train")
        asked, _ = features.load("test")
        classes = features.classes
    found = neighbours.nearest(asked, 4)
    lengths = np.linalg.norm(asked, axis=1)[:, None] * np.linalg.norm(train, axis=1)
    cosine = asked.astype(np.float64) @ train.T / lengths
    for near, expected in zip(found, cosine, strict=True):
        assert [each.similarity for each in near] == pytest.approx(np.sort(expected)[:-5:-1])
        for number, name, similarity in near:
            assert expected[number] == pytest.approx(similarity, abs=1e-6)
            assert classes[labels[number]] == name


def test_more_than_there_are_is_all_of_them(served_run: Run, served_photos: Path) -> None:
    with FeatureFile(served_run.features_path) as features:
        neighbours = Neighbours(features, Folder(served_photos))
        n_train = len(features.rows("train"))
        [near] = neighbours.nearest(features.load("train")[0][:1], 10_000)
    assert sorted(each.number for each in near) == list(range(n_train))
    assert near[0].similarity == pytest.approx(1)


def test_a_picture_that_is_another_by_now_is_not_shown(run: Run, photos: Path) -> None:
    with FeatureFile(run.features_path) as features:
        neighbours = Neighbours(features, Folder(photos))
        path = photos / features.table.paths[features.rows("train")[0]]
    assert neighbours.thumbnail(0, 32)[8:12] == b"WEBP"
    path.write_bytes((photos / "red/000.png").read_bytes() + b"more")
    with pytest.raises(UnusableImageError, match="changed"):
        neighbours.thumbnail(0, 32)
