from pathlib import Path

import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.doctor.features.sample import choose_rows, decode_sample
from classify.run import Run
from tests.conftest import write_image

NORMS = np.random.default_rng(0).permutation(10_000).astype(float)


@pytest.mark.parametrize("size_px", [32, 224, 2048])
def test_the_first_rows_come_first_and_the_extremes_are_there(size_px: int) -> None:
    rows, n_neighbours = choose_rows(NORMS, size_px)
    assert rows[:n_neighbours].tolist() == list(range(n_neighbours))
    assert len(np.unique(rows)) == len(rows)
    order = np.argsort(NORMS)
    assert set(order[:6].tolist() + order[-6:].tolist()) <= set(rows.tolist())


def test_large_images_are_few() -> None:
    assert choose_rows(NORMS, 96)[1] == 32
    assert choose_rows(NORMS, 2048)[1] == 16
    assert len(choose_rows(NORMS, 2048)[0]) <= 32


def test_a_small_file_is_looked_at_whole() -> None:
    rows, n_neighbours = choose_rows(np.ones(5), 96)
    assert (rows.tolist(), n_neighbours) == ([0, 1, 2, 3, 4], 5)


def test_a_changed_image_is_left_out_and_named(run: Run, photos: Path) -> None:
    with FeatureFile(run.features_path) as features:
        changed = photos / features.table.paths[3]
        write_image(changed, seed=999)
        sample = decode_sample(features, photos, np.arange(float(features.n_images)))
    assert sample.n_neighbours == 31
    assert 3 not in sample.rows.tolist()
    assert sample.images.shape == (len(sample.rows), 16, 16, 3)
    assert [str(changed) in line for line in sample.unusable] == [True]
