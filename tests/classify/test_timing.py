import time

import numpy as np
import pytest

from classify.heads.centroid import Centroid
from classify.heads.vote import Vote
from classify.timing import predict_seconds
from tests.classify.test_heads import separable


class Slow(Centroid):
    """Takes 0.2 s at first and once more, else 20 ms."""

    pauses = (0.2, 0.02, 0.2, 0.02)
    n_calls = 0

    def _predict_proba(self, X: np.ndarray) -> np.ndarray:
        time.sleep(self.pauses[self.n_calls])
        self.n_calls += 1
        return super()._predict_proba(X)


def test_seconds_are_for_an_image_without_the_first_call_and_an_outlier() -> None:
    X, y, _, _ = separable(2)
    head = Slow().fit(X, y)
    assert predict_seconds(head, X) == pytest.approx(0.02 / len(X), rel=0.5)
    assert head.n_calls == 4


def test_a_vote_takes_as_long_as_its_members_together() -> None:
    X, y, _, _ = separable(2)

    class Pausing(Centroid):
        def _predict_proba(self, X: np.ndarray) -> np.ndarray:
            time.sleep(0.03)
            return super()._predict_proba(X)

    vote = Vote(members=(("a", Pausing()), ("b", Pausing()))).fit(X, y)
    assert predict_seconds(vote, X) == pytest.approx(0.06 / len(X), rel=0.4)
