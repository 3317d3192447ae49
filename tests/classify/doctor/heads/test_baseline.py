import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.doctor.finding import Severity
from classify.doctor.heads.baseline import centroid_right, examine_baseline
from classify.doctor.heads.scored import TrainSample
from classify.run import Run
from tests.classify.doctor.heads.made import head, right_for

CENTROID = np.arange(100) < 60


def test_a_head_that_the_centroid_surely_beats_is_a_warning() -> None:
    [finding] = examine_baseline([right_for(30), right_for(58, name="ridge")], CENTROID)
    assert (finding.code, finding.severity) == ("worse-than-centroid", Severity.WARNING)
    assert finding.grid is not None
    [row] = finding.grid.rows
    assert row[0] == "logreg"
    # All of the 30 that differ speak for the centroid: p = 2 * 0.5 ** 30, twice for two heads.
    assert row[2].startswith("-30.0 points [-39")
    assert row[3] == "p < 0.001"


@pytest.mark.parametrize("n_right", [57, 60, 90])
def test_a_little_worse_or_better_is_no_finding(n_right: int) -> None:
    assert list(examine_baseline([right_for(n_right)], CENTROID)) == []


def test_prior_is_worse_by_what_it_is() -> None:
    prior = head(np.arange(100) % 10, [0] * 100, name="prior", kind="Prior")
    assert list(examine_baseline([prior], CENTROID)) == []


def test_without_a_centroid_in_the_run_one_is_made(run: Run) -> None:
    with FeatureFile(run.features_path) as features:
        is_right = centroid_right([], features, TrainSample.of(features))
        assert len(is_right) == len(features.rows("val"))
    assert is_right.all()  # three colours, easily told


def test_the_centroid_of_the_run_is_taken(run: Run) -> None:
    trained = head([0, 1, 2], [0, 2, 2], name="nearest", kind="Centroid")
    with FeatureFile(run.features_path) as features:
        is_right = centroid_right([trained], features, TrainSample.of(features))
    assert is_right.tolist() == [True, False, True]
