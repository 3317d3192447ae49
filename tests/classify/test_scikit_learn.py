"""scikit-learn's own checks of an estimator, over every kind of head.

One check for each kind skips itself: that of array API inputs, which asks for SCIPY_ARRAY_API
before SciPy is imported. Heads take NumPy arrays alone and do not claim more.
"""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from classify.heads.boosting import LightGBM
from classify.heads.centroid import Centroid
from classify.heads.head import Head
from classify.heads.knn import KNN
from classify.heads.logreg import LogReg
from classify.heads.mlp import MLP
from classify.heads.prior import Prior
from classify.heads.ridge import Ridge
from classify.heads.vote import Vote

ESTIMATORS = [
    Prior(),
    Centroid(),
    KNN(),
    Ridge(),
    LogReg(),
    LightGBM(max_rounds=20, n_rounds=20),
    MLP(hidden=(32,), max_epochs=100, learning_rate=0.01),
    Vote(members=(("centroid", Centroid()), ("ridge", Ridge()))),
]
CHANCE = "it is chance: it learns nothing from the embeddings, and is to learn nothing"


def expected_failures(estimator: Head) -> dict[str, str]:
    """Checks that cannot hold, each with its reason."""
    if isinstance(estimator, Prior):
        return {"check_classifiers_train": CHANCE}
    if isinstance(estimator, Centroid):
        return {"check_class_weight_classifiers": "a class's own mean does not depend on weights"}
    return {}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_it_is_an_estimator(estimator: Head, check: Callable[[Any], None]) -> None:
    check(estimator)
