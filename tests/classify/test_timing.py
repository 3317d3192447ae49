import numpy as np
import pytest

from classify.heads.simple import Centroid
from classify.heads.vote import Vote
from classify.timing import predict_seconds
from tests.classify.test_heads import separable


class Clock:
    """Stands still but for what `Paced` heads take."""

    now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("classify.timing.time.perf_counter", lambda: made.now)
    return made


def paced(clock: Clock, seconds: list[float]) -> Centroid:
    """A head whose predictions take so long by the clock, one after the other."""
    waiting = iter(seconds)

    class Paced(Centroid):
        def _predict_proba(self, X: np.ndarray) -> np.ndarray:
            clock.now += next(waiting)
            return super()._predict_proba(X)

    return Paced()


def test_seconds_are_for_an_image_without_the_first_call_and_an_outlier(clock: Clock) -> None:
    X, y, _, _ = separable(2)
    head = paced(clock, [9.0, 2.0, 5.0, 3.0]).fit(X, y)
    assert predict_seconds(head, X) == pytest.approx(3.0 / len(X))
    assert clock.now == 19.0


def test_a_vote_takes_as_long_as_its_members_together(clock: Clock) -> None:
    X, y, _, _ = separable(2)
    heads = [paced(clock, [seconds] * 50) for seconds in (1.0, 2.0)]
    fitted = {str(number): head.fit(X, y) for number, head in enumerate(heads)}
    probas = {name: head.predict_proba(X) for name, head in fitted.items()}
    vote = Vote.of_fitted(fitted, probas, y)
    n_voters = sum(1 + int(name) for name in vote.weights_)
    assert predict_seconds(vote, X) == pytest.approx(n_voters / len(X))
