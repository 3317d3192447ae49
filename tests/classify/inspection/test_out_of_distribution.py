"""Distances from the classes: what they tell apart, what they promise, how they are kept."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from headbench.cache.reader import FeatureFile
from headbench.classify.arrays import load_arrays, save_arrays
from headbench.classify.inspection import out_of_distribution
from headbench.classify.inspection.out_of_distribution import (
    DISTANCES_FILE,
    Distances,
    distances,
    left_out_auroc,
    measure_distances,
    measure_out_of_distribution,
    open_distances,
)
from headbench.classify.run import Run


def directions(rng: np.random.Generator, center: np.ndarray, n: int) -> np.ndarray:
    return (center + 0.1 * rng.normal(size=(n, len(center)))).astype(np.float32)


def test_the_distance_is_the_sum_of_two_cosine_distances_to_the_nearest_class() -> None:
    rng = np.random.default_rng(0)
    X, means = rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    expected = []
    for x in X / np.linalg.norm(X, axis=1, keepdims=True):
        center = means.mean(axis=0)
        cosines = [x @ m / np.linalg.norm(m) for m in means]
        centred = [
            (x - center) @ (m - center) / np.linalg.norm(x - center) / np.linalg.norm(m - center)
            for m in means
        ]
        expected.append(2 - max(cosines) - max(centred))
    found = distances(X.astype(np.float32), means.astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("n_val", "asked", "least"), [(19, 0.1, 0.085), (15, 0.05, 0)])
def test_no_more_images_like_those_of_val_are_reported_than_were_asked_for(
    n_val: int, asked: float, least: float
) -> None:
    """Over many draws of val, in the mean: the promise is about the draw too."""
    rng = np.random.default_rng(0)
    means = np.eye(3, 8, dtype=np.float32)
    shares = []
    for _ in range(300):
        X = directions(rng, means[0], n_val + 40)
        of_val, new = np.sort(distances(X[:n_val], means)), X[n_val:]
        shares.append((Distances(means, of_val).typicality(new) <= asked).mean())
    assert least <= np.mean(shares) <= asked + 0.005


def test_typicality_is_the_share_of_val_at_least_as_far_with_the_image_itself() -> None:
    means = np.eye(2, 4, dtype=np.float32)
    X = directions(np.random.default_rng(0), means[0], 10)
    of_val = np.sort(distances(X, means))
    found = Distances(means, of_val).typicality(X)
    assert sorted(found) == [(1 + n) / 11 for n in range(1, 11)]
    far = Distances(means, of_val).typicality(-means[:1] - means[1:])
    assert far.tolist() == [1 / 11]
    assert Distances(means, of_val[:0]).typicality(X[:1]).tolist() == [1]


def brute_force(scores: np.ndarray, group: np.ndarray) -> float:
    pairs = [
        (scores[i, g] > scores[j, g]) + (scores[i, g] == scores[j, g]) / 2
        for i, g in enumerate(group)
        for j in range(len(group))
        if group[j] != g
    ]
    return float(np.mean(pairs))


def test_the_auroc_is_that_of_all_pairs_and_ties_count_half() -> None:
    rng = np.random.default_rng(0)
    scores, group = rng.integers(0, 6, size=(40, 3)), rng.integers(0, 3, size=40)
    found = left_out_auroc(scores, group)
    assert found.value == pytest.approx(brute_force(scores, group))
    assert found.low < found.value < found.high
    assert found.n == 40


@pytest.mark.parametrize("n_columns", [1, 3])
def test_the_interval_of_the_auroc_holds_the_true_value_about_as_often_as_it_says(
    n_columns: int,
) -> None:
    """Whether leaving classes out changes distances of others a lot (3 columns) or not (1)."""
    rng = np.random.default_rng(0)
    true, n_held, n_draws = norm.cdf(1 / 2**0.5), 0, 400
    for _ in range(n_draws):
        group = np.repeat([0, 1, 2], 15)
        # A group is 1 farther away if it is left out.
        scores = rng.normal(size=(45, n_columns)) + (group[:, None] == np.arange(3))
        found = left_out_auroc(scores, group)
        n_held += found.low <= true <= found.high
    assert 0.92 < n_held / n_draws < 0.98


def test_perfectly_told_classes_still_have_an_interval() -> None:
    group = np.repeat([0, 1], 10)
    found = left_out_auroc((group[:, None] == np.arange(2)).astype(float), group)
    assert (found.value, found.high) == (1, 1)
    assert 0.8 < found.low < 0.9


def test_a_colour_that_is_no_class_is_far_and_the_measure_says_how_well(run: Run) -> None:
    with FeatureFile(run.features_path) as features:
        known = measure_distances(features)
        found = measure_out_of_distribution(features, known)
        X, y = features.load("test")
    assert known.means.shape == (3, 3)
    assert (known.typicality(X) > 0.05).mean() > 0.8
    yellow = np.array([[220, 200, 20]], dtype=np.float32) / 255
    assert known.typicality(yellow) == [1 / (1 + len(known.val))]
    assert found.auroc is not None
    assert found.auroc.value > 0.95
    assert found.false_alarms.n == len(y)


def test_what_is_kept_is_read_again_and_measures_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FeatureFile(run.features_path) as features:
        first = open_distances(run.folder, features)
        monkeypatch.setattr(out_of_distribution, "measure_distances", pytest.fail)
        again = open_distances(run.folder, features)
    np.testing.assert_array_equal(again.means, first.means)
    np.testing.assert_array_equal(again.val, first.val)


def changed(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]):
    def spoil(path: Path) -> None:
        save_arrays(path, change(load_arrays(path)))

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        changed(lambda kept: kept | {"digest": np.array("of other features")}),
        changed(lambda kept: kept | {"means": kept["means"][:, :2]}),
        changed(lambda kept: kept | {"val": kept["val"][1:]}),
        changed(lambda kept: kept | {"val": kept["val"].astype(str)}),
        changed(lambda kept: kept | {"val": np.full_like(kept["val"], np.nan)}),
        changed(lambda kept: {"means": kept["means"]}),
    ],
)
def test_what_is_damaged_or_of_other_features_is_measured_again(
    run: Run, spoil: Callable[[Path], None]
) -> None:
    path = run.folder / DISTANCES_FILE
    with FeatureFile(run.features_path) as features:
        first = open_distances(run.folder, features)
        spoil(path)
        again = open_distances(run.folder, features)
        np.testing.assert_array_equal(again.val, first.val)
        np.testing.assert_array_equal(load_arrays(path)["means"], first.means)
        assert str(load_arrays(path)["digest"]) == features.digest()
