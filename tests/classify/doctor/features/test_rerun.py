from pathlib import Path

import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.doctor.features.causes import examine_sample
from classify.doctor.features.columns import measure_columns
from classify.doctor.features.network import Condition
from classify.doctor.features.rerun import Beside
from classify.doctor.features.sample import decode_sample
from classify.run import Run
from extract.scalings import SCALINGS
from tests.classify.doctor.zoo.good_run import rewrite

RAW, BY_BATCH = Condition(SCALINGS["raw"]), Condition(SCALINGS["raw"], by_batch=True)


class CentredColors:
    """Mean colours; with batch statistics, less the mean of the batch."""

    declared, conditions = RAW, [RAW, BY_BATCH]

    def embed(self, images: np.ndarray, condition: Condition) -> np.ndarray:
        colors = images.mean(axis=(1, 2)).astype(np.float32)
        return colors - colors.mean(axis=0) if condition.by_batch else colors


def by_batches_of_32(rows: np.ndarray) -> np.ndarray:
    batches = np.split(rows, range(32, len(rows), 32))
    return np.concatenate([batch - batch.mean(axis=0) for batch in batches])


def beside_of(features: FeatureFile, photos: Path) -> Beside:
    columns = measure_columns(features)
    sample = decode_sample(features, photos, columns.norms)
    return Beside(features, photos, columns, sample, CentredColors())


def test_the_first_images_are_a_batch_of_their_own(run: Run, photos: Path) -> None:
    rewrite(run, "embeddings", by_batches_of_32)
    with FeatureFile(run.features_path) as features:
        beside = beside_of(features, photos)
    first, others = beside.medians(BY_BATCH)
    assert first < 1e-5
    assert others > 0.1
    assert beside.nearness(BY_BATCH) == first
    assert not beside.is_same.any()


def test_embeddings_by_the_batch_are_named_and_shown_to_move(run: Run, photos: Path) -> None:
    rewrite(run, "embeddings", by_batches_of_32)
    with FeatureFile(run.features_path) as features:
        [finding] = examine_sample(beside_of(features, photos))
    assert finding.code == "embeddings-depend-on-batch-mates"
    assert finding.grid is not None
    assert [row[0] for row in finding.grid.rows] == [
        "raw, batch statistics",
        "raw, inference mode (declared)",
    ]
    assert finding.evidence[1].startswith("16 images embedded twice, the second time with 16 ")
    assert finding.evidence[1].endswith("in inference mode by 0.")


@pytest.mark.parametrize(("factor", "is_same"), [(1.005, True), (1.02, False)])
def test_the_same_is_within_a_hundredth(
    run: Run, photos: Path, factor: float, is_same: bool
) -> None:
    rewrite(run, "embeddings", lambda rows: rows * factor)
    with FeatureFile(run.features_path) as features:
        beside = beside_of(features, photos)
    assert set(beside.is_same.tolist()) == {is_same}
    assert beside.distance(RAW) == pytest.approx(1 - 1 / factor, rel=1e-3)
