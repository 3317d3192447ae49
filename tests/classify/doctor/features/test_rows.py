from pathlib import Path

import numpy as np

from cache.reader import FeatureFile
from classify.doctor.features.columns import measure_columns
from classify.doctor.features.network import MeanColorRerun
from classify.doctor.features.rerun import Beside
from classify.doctor.features.rows import examine_order, nearest_rows
from classify.doctor.features.sample import decode_sample
from classify.run import Run
from tests.classify.doctor.zoo.good_run import rewrite


def beside_of(features: FeatureFile, photos: Path) -> Beside:
    columns = measure_columns(features)
    sample = decode_sample(features, photos, columns.norms)
    return Beside(features, photos, columns, sample, MeanColorRerun())


def test_the_nearest_row_of_a_row_is_itself(run: Run, photos: Path) -> None:
    with FeatureFile(run.features_path) as features:
        beside = beside_of(features, photos)
        rows = np.array([3, 88, 40])
        assert nearest_rows(beside, features.read(rows)).tolist() == [3, 88, 40]


def test_embeddings_that_moved_are_found_where_they_are(run: Run, photos: Path) -> None:
    rewrite(run, "embeddings", lambda rows: np.roll(rows, 10, axis=0))
    with FeatureFile(run.features_path) as features:
        finding = examine_order(beside_of(features, photos))
        paths = features.table.paths
    assert finding is not None
    assert finding.code == "embeddings-of-other-images"
    assert finding.evidence[1] == (f"The embedding of {paths[0]} stands in the row of {paths[10]}.")


def test_embeddings_that_are_nowhere_are_not_found(run: Run, photos: Path) -> None:
    rewrite(run, "embeddings", lambda rows: rows + 100)
    with FeatureFile(run.features_path) as features:
        assert examine_order(beside_of(features, photos)) is None
