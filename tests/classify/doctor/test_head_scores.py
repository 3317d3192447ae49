import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.doctor import head_scores
from headbench.classify.doctor.head_scores import (
    Scored,
    TrainSample,
    centroid_right,
    chance,
    difference,
    measure_agreement,
    score_heads,
)
from headbench.classify.errors import RunError
from headbench.classify.intervals import wilson
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from tests.classify.doctor.made import head, sample_of, shuffled


def test_chance_is_the_most_common_class_of_train_or_a_guess() -> None:
    y_train = np.array([0, 0, 0, 1])
    assert chance(y_train, np.array([0, 1, 1, 1, 0]), 4) == 0.4
    assert chance(y_train, np.array([1, 1, 1, 1, 0]), 4) == 0.25


def test_heads_are_scored_on_val_and_on_train(run: Run) -> None:
    train_heads(run, ["prior", "ridge"], seed=0)
    with FeatureFile(run.features_path) as features:
        sample = TrainSample.of(features)
        prior, ridge = score_heads(run, features, sample)
        y_train, y_val = sample.y, features.labels("val")
    assert isinstance(prior, Scored)
    assert isinstance(ridge, Scored)
    assert (ridge.kind, ridge.val.value, ridge.train.value) == ("Ridge", 1.0, 1.0)
    most = np.bincount(y_train).argmax()
    assert prior.train.value == pytest.approx((y_train == most).mean())
    assert prior.val.value == pytest.approx((y_val == most).mean())
    assert not prior.looks


def test_a_fine_tuned_network_is_scored_by_what_it_left_behind(network_run: Run) -> None:
    with FeatureFile(network_run.features_path) as features:
        results = score_heads(network_run, features, TrainSample.of(features))
        by_name = {each.name: each for each in results if isinstance(each, Scored)}
    assert by_name["finetuned"].kind == "network"
    assert by_name["finetuned"].train is None
    assert by_name["mlp-128"].train is not None


def test_a_damaged_head_is_told_and_the_others_are_scored(run: Run) -> None:
    train_heads(run, ["centroid", "ridge"], seed=0)
    (run.trained_folder("centroid") / "means.npz").write_bytes(b"nothing")
    with FeatureFile(run.features_path) as features:
        first, second = score_heads(run, features, TrainSample.of(features))
    assert isinstance(first, RunError)
    assert isinstance(second, Scored)


def test_a_large_train_is_sampled_evenly(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_scores, "MOST_TRAIN_ROWS", 12)
    with FeatureFile(run.features_path) as features:
        sample = TrainSample.of(features)
        y = features.labels("train")
    assert (len(sample.y), sample.n_train) == (12, len(y))
    expected = 12 * np.bincount(y) / len(y)
    assert np.abs(np.bincount(sample.y) - expected).max() <= 1


def test_neighbours_are_counted_without_the_image_itself() -> None:
    X = np.array([[1, 0], [1, 0.1], [-1, 0], [-1, 0.1]], dtype=np.float32)
    agreement = measure_agreement(TrainSample(X, np.array([0, 0, 1, 0], dtype=np.int32), 4))
    assert agreement is not None
    # The nearest of the first two is the other one; that of the last two has another label.
    assert (agreement.n_neighbors, agreement.share) == (1, 0.5)


def test_few_images_prove_nothing() -> None:
    agreement = measure_agreement(shuffled(sample_of(np.arange(15) % 3, 1.0)))
    assert agreement is not None
    assert not agreement.is_chance


def test_a_single_image_has_no_neighbours() -> None:
    assert measure_agreement(sample_of(np.array([0]), 1.0)) is None


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe 1998, Table II, (a), method 10: 56/70 - 48/80.
    found = difference(wilson(56, 70), wilson(48, 80))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


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
