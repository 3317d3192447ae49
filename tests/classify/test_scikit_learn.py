"""scikit-learn's own checks of an estimator, over every kind of head.

One check for each kind skips itself: that of array API inputs, which asks for SCIPY_ARRAY_API
before SciPy is imported. Heads take NumPy arrays alone and do not claim more.
"""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from headbench.classify.heads.boosting import LightGBM
from headbench.classify.heads.head import Head
from headbench.classify.heads.logreg import LogReg
from headbench.classify.heads.mlp import MLP
from headbench.classify.heads.ridge import Ridge
from headbench.classify.heads.simple import KNN, Centroid, Prior
from headbench.classify.heads.vote import Vote

ESTIMATORS = [
    Prior(),
    Centroid(),
    KNN(),
    Ridge(),
    LogReg(),
    LightGBM(max_rounds=20, n_rounds=20),
    MLP(hidden=(32,), max_epochs=40, learning_rate=0.02),
    Vote(members=(("centroid", Centroid()), ("ridge", Ridge()))),
]
NEED_ZERO_WEIGHTS = (
    "check_sample_weight_equivalence_on_dense_data",
    "check_classifiers_one_label_sample_weights",
)
CHANCE = "it is chance: it learns nothing from the embeddings, and is to learn nothing"


def expected_failures(estimator: Head) -> dict[str, str]:
    """Checks that cannot hold, each with its reason."""
    weighted = dict.fromkeys(NEED_ZERO_WEIGHTS, "an image that is to count for nothing is left out")
    if isinstance(estimator, Prior):
        return weighted | {"check_classifiers_train": CHANCE}
    if isinstance(estimator, Centroid):
        unweighted = "a class's own mean does not depend on weights"
        return weighted | {"check_class_weight_classifiers": unweighted}
    return weighted


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_it_is_an_estimator(estimator: Head, check: Callable[[Any], None]) -> None:
    check(estimator)
