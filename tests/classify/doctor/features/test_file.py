import numpy as np

from cache.reader import FeatureFile
from cache.verify import inspect_file
from classify.doctor.features.file import examine_file
from classify.doctor.finding import Severity
from classify.run import Run
from tests.classify.doctor.zoo.good_run import rewrite


def test_a_whole_file_of_a_known_backbone_is_no_finding(run: Run) -> None:
    with FeatureFile(run.features_path) as features:
        assert list(examine_file(features, inspect_file(features.path))) == []


def test_a_number_that_is_not_finite_is_damage(run: Run) -> None:
    def change(rows: np.ndarray) -> np.ndarray:
        rows[8, 1] = float("nan")
        return rows

    with FeatureFile(rewrite(run, "embeddings", change).features_path) as features:
        [finding] = examine_file(features, inspect_file(features.path))
    assert (finding.code, finding.severity) == ("file-damaged", Severity.SEVERE)
    assert finding.what.endswith("1 of 90 images cannot be used.")
    assert "/embeddings row 8: not finite" in finding.evidence


def test_random_weights_are_never_silent(network_run: Run) -> None:
    with FeatureFile(network_run.features_path) as features:
        [finding] = examine_file(features, inspect_file(features.path))
    assert (finding.code, finding.severity) == ("random-weights", Severity.WARNING)
