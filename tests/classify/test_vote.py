from pathlib import Path

import numpy as np
import pytest

from headbench.classify.heads.registry import load_head
from headbench.classify.heads.ridge import Ridge
from headbench.classify.heads.simple import Centroid, Prior
from headbench.classify.heads.vote import Vote, mixture_weights
from tests.classify.test_heads import separable


def test_weights_have_the_smallest_log_loss_of_all() -> None:
    rng = np.random.default_rng(0)
    of_truth = rng.uniform(0.01, 1, (400, 2)) ** [1.0, 1.5]
    weights = mixture_weights(of_truth, np.ones(400))
    assert weights.sum() == pytest.approx(1)

    def loss(first: float) -> float:
        return float(-np.log(of_truth @ [first, 1 - first]).mean())

    grid = np.linspace(0, 1, 1001)
    assert weights[0] == pytest.approx(grid[np.argmin([loss(each) for each in grid])], abs=2e-3)


def test_a_member_that_knows_nothing_is_left_out() -> None:
    X, y, X_val, y_val = separable(5)
    vote = Vote(members=(("prior", Prior()), ("ridge", Ridge()))).fit(X, y, X_val, y_val)
    assert vote.weights_ == {"ridge": pytest.approx(1)}
    assert vote.chosen_ == vote.weights_


def test_without_val_all_count_the_same() -> None:
    X, y, _, _ = separable(2)
    vote = Vote(members=(("a", Centroid()), ("b", Ridge()))).fit(X, y)
    assert vote.weights_ == {"a": 0.5, "b": 0.5}


def test_a_vote_of_fitted_heads_is_their_average_and_is_saved_with_them(tmp_path: Path) -> None:
    X, y, X_val, y_val = separable(5)
    heads = {"c": Centroid().fit(X, y), "r": Ridge().fit(X, y)}
    rng = np.random.default_rng(0)
    y_val = np.where(rng.random(len(y_val)) < 0.4, rng.permutation(y_val), y_val)
    probas = {name: head.predict_proba(X_val) for name, head in heads.items()}
    vote = Vote.of_fitted(heads, probas, y_val)
    average = sum(weight * probas[name] for name, weight in vote.weights_.items())
    assert np.all(vote.predict_proba(X_val).argmax(axis=1) == np.asarray(average).argmax(axis=1))
    vote.save(tmp_path)
    np.testing.assert_allclose(
        load_head(tmp_path).predict_proba(X_val), vote.predict_proba(X_val), atol=1e-6
    )


def test_a_vote_counts_what_the_images_of_val_count() -> None:
    X, y, _, y_val = separable(2)
    heads = {"a": Ridge().fit(X, y), "b": Ridge().fit(X, y)}
    is_first = np.arange(len(y_val)) // 2 % 2 == 0
    certain = np.where(y_val[:, None] == np.arange(2), 0.9, 0.1).astype(np.float32)
    # Each member knows half of the images.
    probas = {
        "a": np.where(is_first[:, None], certain, np.float32(0.5)),
        "b": np.where(is_first[:, None], np.float32(0.5), certain),
    }
    plain = Vote.of_fitted(heads, probas, y_val)
    weighted = Vote.of_fitted(heads, probas, y_val, np.where(is_first, 30, 10))
    assert plain.weights_["a"] == pytest.approx(0.5)
    assert weighted.weights_["a"] > 0.7


@pytest.mark.parametrize("members", [(), (("a", Ridge()), ("a", Ridge()))])
def test_no_members_and_equal_names_are_refused(members: tuple[tuple[str, Ridge], ...]) -> None:
    X, y, _, _ = separable(2)
    with pytest.raises(ValueError, match="members: expected"):
        Vote(members=members).fit(X, y)
