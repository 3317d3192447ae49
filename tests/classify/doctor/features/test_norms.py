import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.doctor.features.norms import examine_norms, odd_norms
from classify.doctor.finding import Severity
from classify.run import Run


def test_far_lengths_are_found_the_farthest_first() -> None:
    norms = np.linspace(9, 11, 100)
    norms[[17, 40, 60]] = [100, 0, 1000]
    assert odd_norms(norms).tolist() == [40, 60, 17]


def test_lengths_that_spread_widely_are_not_odd() -> None:
    assert odd_norms(np.geomspace(0.01, 100, 99)).size == 0


@pytest.mark.parametrize("norms", [np.zeros(5), np.full(5, 3.0), np.array([2.0])])
def test_equal_lengths_are_not_odd(norms: np.ndarray) -> None:
    assert odd_norms(norms).size == 0


def test_an_odd_length_is_a_warning_with_the_name_of_the_image(run: Run) -> None:
    with FeatureFile(run.features_path) as features:
        norms = np.full(features.n_images, 10.0)
        norms[33] = 0
        [finding] = examine_norms(features, norms, None)
        assert (finding.code, finding.severity) == ("norms-off-range", Severity.WARNING)
        assert f"{features.table.paths[33]}: length 0." in finding.evidence
    assert "1 of them hold nothing but zeros." in finding.evidence
