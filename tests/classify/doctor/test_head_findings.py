"""What heads are scored by, and what is found of them."""

from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.arrays import load_arrays, save_arrays
from headbench.classify.doctor import head_findings
from headbench.classify.doctor.chance import Agreement, chance, difference, measure_agreement
from headbench.classify.doctor.finding import Examination, Severity
from headbench.classify.doctor.head_findings import (
    Scored,
    TrainSample,
    centroid_right,
    check_centroid,
    check_chance,
    check_class_order,
    check_labels,
    check_one_class,
    check_overfit,
    examine_heads,
    gives_one,
    score_heads,
)
from headbench.classify.errors import RunError
from headbench.classify.intervals import wilson
from headbench.classify.run import PROBA_FILE, Run
from headbench.classify.train_heads import train_heads
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.classify.doctor.zoo.good_run import rewrite
from tests.conftest import write_class_folders

RNG = np.random.default_rng(0)


def head(
    y_val: list[int] | np.ndarray,
    predicted: list[int] | np.ndarray,
    on_train: tuple[int, int] | None = (90, 100),
    name: str = "logreg",
    kind: str = "LogReg",
) -> Scored:
    """A head with these predictions on val, and so many right of so many on train."""
    y, given = np.array(y_val, dtype=np.int32), np.array(predicted, dtype=np.intp)
    n_right = int((y == given).sum())
    train = None if on_train is None else wilson(*on_train)
    return Scored(name, kind, y, given, wilson(n_right, len(y)), train)


def right_for(n_right: int, n: int = 100, n_classes: int = 10, name: str = "logreg") -> Scored:
    """A head that has the first images of val right, and calls the others by the next class."""
    y = np.arange(n) % n_classes
    given = np.where(np.arange(n) < n_right, y, (y + 1) % n_classes)
    return head(y, given, name=name)


def sample_of(y: np.ndarray, strength: float) -> TrainSample:
    """Embeddings of 32 columns around a mean for each class, more or less far apart."""
    means = np.random.default_rng(1).normal(size=(y.max() + 1, 32))
    X = strength * means[y] + RNG.normal(size=(len(y), 32))
    return TrainSample(X.astype(np.float32), y.astype(np.int32), len(y))


def shuffled(sample: TrainSample) -> TrainSample:
    return TrainSample(sample.X, RNG.permutation(sample.y), sample.n_train)


TEN = tuple("abcdefghij")
BALANCED = np.arange(100) % 10
FOUR = ("a", "b", "c", "d")
TRUE = np.arange(80) % 4
REVERSED = 3 - TRUE
Y = [0, 1] * 50
HALF = [0, 0] * 50
CENTROID = np.arange(100) < 60


def agreement_of(sample: TrainSample) -> Agreement | None:
    return measure_agreement(sample.X, sample.y)


def test_shuffled_labels_are_severe() -> None:
    sample = shuffled(sample_of(np.arange(400) % 10, 1.0))
    finding = check_labels(agreement_of(sample), [right_for(10)], 0.1, False)
    assert finding is not None
    assert (finding.code, finding.severity) == ("labels-look-shuffled", Severity.SEVERE)


def test_right_labels_of_weak_embeddings_are_no_finding() -> None:
    agreement = agreement_of(sample_of(np.arange(400) % 10, 0.4))
    assert agreement is not None
    assert agreement.share < 0.3
    assert check_labels(agreement, [right_for(10)], 0.1, False) is None


def test_a_head_may_predict_shuffled_labels_and_random_weights_may_be_to_blame() -> None:
    agreement = agreement_of(shuffled(sample_of(np.arange(400) % 10, 1.0)))
    assert check_labels(agreement, [right_for(10), right_for(30)], 0.1, False) is None
    finding = check_labels(agreement, [right_for(10)], 0.1, True)
    assert finding is not None
    assert finding.severity is Severity.WARNING


def noisy(right: np.ndarray, share: float) -> np.ndarray:
    """Right for a share of the images, else anything."""
    return np.where(RNG.random(len(right)) < share, right, RNG.integers(0, 4, len(right)))


def test_classes_in_the_reverse_order_are_found_and_named() -> None:
    scored = head(REVERSED, noisy(TRUE, 0.8))
    finding = check_class_order([scored], FOUR, 0.25)
    assert finding is not None
    assert (finding.code, finding.severity) == ("val-labels-in-another-order", Severity.SEVERE)
    assert "Classes: a in val is d in train, b in val is c in train" in finding.evidence[1]


def test_a_sound_head_keeps_its_names() -> None:
    scored = head(TRUE, noisy(TRUE, 0.5))
    assert check_class_order([scored], FOUR, 0.25) is None


@pytest.mark.parametrize("on_train", [(25, 100), None], ids=["no good on train", "network"])
def test_heads_that_may_not_know_the_classes_say_nothing_of_orders(
    on_train: tuple[int, int] | None,
) -> None:
    assert check_class_order([head(REVERSED, TRUE, on_train)], FOUR, 0.25) is None


def test_one_class_for_all_is_severe_with_its_name_and_shares() -> None:
    [finding] = check_one_class([head(BALANCED, [3] * 100), right_for(60)], TEN)
    assert (finding.code, finding.severity) == ("one-class-predicted", Severity.SEVERE)
    assert finding.grid is not None
    [row] = finding.grid.rows
    assert row[:2] == ("logreg", "d")
    assert row[2].startswith("100.0 %")
    assert row[3].startswith("10.0 %")


def test_prior_predicts_one_class_and_is_not_blamed() -> None:
    prior = head(BALANCED, [3] * 100, name="prior", kind="Prior")
    assert list(check_one_class([prior], TEN)) == []
    assert list(check_chance([prior], 0.1, is_blind=False)) == []


@pytest.mark.parametrize(
    ("y", "given"),
    [([0] * 96 + [1] * 4, [0] * 100), ([0, 1, 2], [1, 1, 1])],
    ids=["nearly all are of it", "three images"],
)
def test_one_class_that_proves_nothing_is_no_finding(y: list[int], given: list[int]) -> None:
    assert not gives_one(head(y, given))


def test_all_heads_at_chance_are_one_severe_finding() -> None:
    heads = [right_for(10), right_for(8, name="ridge")]
    [finding] = check_chance(heads, 0.1, is_blind=False)
    assert (finding.code, finding.severity) == ("val-at-chance", Severity.SEVERE)
    assert finding.what == "logreg, ridge: validation accuracy is at chance."


def test_chance_beside_a_good_head_or_of_a_blind_backbone_is_a_warning() -> None:
    heads = [right_for(10), right_for(60, name="ridge")]
    [finding] = check_chance(heads, 0.1, is_blind=False)
    assert finding.severity is Severity.WARNING
    assert "Better on the same embeddings: ridge." in finding.evidence
    [finding] = check_chance(heads[:1], 0.1, is_blind=True)
    assert finding.severity is Severity.WARNING


def test_few_images_leave_it_open() -> None:
    [finding] = check_chance([right_for(2, 6)], 0.1, is_blind=False)
    assert (finding.code, finding.severity) == ("val-too-small", Severity.NOTE)


def test_train_far_above_val_is_a_warning_with_both() -> None:
    [finding] = check_overfit([head(Y, HALF, (1000, 1000))])
    assert (finding.code, finding.severity) == ("overfit", Severity.WARNING)
    assert finding.grid is not None
    assert finding.grid.rows[0][0] == "logreg"
    assert finding.grid.rows[0][3].startswith("+50.0 points [+40")


def test_the_best_of_the_others_is_named() -> None:
    [finding] = check_overfit(
        [head(Y, HALF, (1000, 1000)), head(Y, HALF, (600, 1000), "ridge", "Ridge")]
    )
    assert "The best of the other heads, ridge: " in finding.evidence[1]


@pytest.mark.parametrize(
    "scored",
    [
        head(Y, HALF, (700, 1000)),
        head([0, 1], [0, 0], (1000, 1000)),  # two images: the interval is wide
        head(Y, HALF, (1000, 1000), "knn", "KNN"),
        head(Y, HALF, None, "finetuned", "network"),
    ],
    ids=["near", "few", "knn", "finetuned"],
)
def test_what_is_near_unsure_or_not_to_be_compared_is_no_finding(scored) -> None:
    assert list(check_overfit([scored])) == []


def test_a_head_that_the_centroid_surely_beats_is_a_warning() -> None:
    [finding] = check_centroid([right_for(30), right_for(58, name="ridge")], CENTROID)
    assert (finding.code, finding.severity) == ("worse-than-centroid", Severity.WARNING)
    assert finding.grid is not None
    [row] = finding.grid.rows
    assert row[0] == "logreg"
    # All of the 30 that differ speak for the centroid: p = 2 * 0.5 ** 30, twice for two heads.
    assert row[2].startswith("-30.0 points [-39")
    assert row[3] == "p < 0.001"


@pytest.mark.parametrize("n_right", [57, 60, 90])
def test_a_little_worse_or_better_is_no_finding(n_right: int) -> None:
    assert list(check_centroid([right_for(n_right)], CENTROID)) == []


def test_prior_is_worse_by_what_it_is() -> None:
    prior = head(np.arange(100) % 10, [0] * 100, name="prior", kind="Prior")
    assert list(check_centroid([prior], CENTROID)) == []


def examined(run: Run) -> Examination:
    with FeatureFile(run.features_path) as features:
        return examine_heads(run, features)


@pytest.fixture
def many(tmp_path: Path, settings: ExtractSettings) -> Run:
    """450 pictures of three colours under shuffled labels: enough to see that they are."""
    photos = write_class_folders(tmp_path / "many", n_per_class=150)
    run = Run(tmp_path / "runs/many")
    extract_features(photos, run.features_path, settings)
    rewrite(run, "labels", np.random.default_rng(0).permutation)
    train(run, "prior", "centroid", "ridge", "logreg")
    return run


def train(run: Run, *names: str) -> None:
    train_heads(run, names, seed=0)


def test_a_run_without_heads_is_said_and_is_no_finding(run: Run) -> None:
    line, findings = examined(run)
    assert line.endswith("no heads; 'headbench heads' trains some.")
    assert findings == []


def test_sound_heads_are_no_finding(run: Run) -> None:
    train(run, "prior", "centroid", "knn", "ridge", "logreg")
    line, findings = examined(run)
    assert findings == []
    assert "5 heads on" in line


def test_heads_of_other_features_are_named_with_what_to_do(run: Run) -> None:
    train(run, "ridge")
    rewrite(run, "labels", lambda labels: labels[::-1])
    line, [finding] = examined(run)
    assert (finding.code, finding.severity) == ("heads-outdated", Severity.WARNING)
    assert "1 head on" in line


def test_shuffled_labels_are_one_finding_and_not_one_for_each_head(many: Run) -> None:
    _, [finding] = examined(many)
    assert finding.code == "labels-look-shuffled"
    # Mean colours know little: the backbone may be to blame.
    assert finding.severity is Severity.WARNING


def predicting(run: Run, name: str, predicted: np.ndarray) -> None:
    """Let a head of three classes have these predictions on val."""
    path = run.trained_folder(name) / PROBA_FILE
    arrays = load_arrays(path)
    save_arrays(path, arrays | {"val": np.eye(3, dtype=np.float32)[predicted]})


def test_under_shuffled_labels_a_head_that_predicts_one_class_is_found_too(many: Run) -> None:
    with FeatureFile(many.features_path) as features:
        n_val = len(features.rows("val"))
    predicting(many, "ridge", np.zeros(n_val, dtype=int))
    _, findings = examined(many)
    assert [each.code for each in findings] == ["labels-look-shuffled", "one-class-predicted"]


def test_damaged_embeddings_leave_heads_unchecked(run: Run) -> None:
    train(run, "ridge")

    def change(rows: np.ndarray) -> np.ndarray:
        rows[:, 0] = np.nan
        return rows

    rewrite(run, "embeddings", change)
    _, [note] = examined(run)
    assert (note.code, note.severity) == ("not-checked", Severity.NOTE)


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
    monkeypatch.setattr(head_findings, "MOST_TRAIN_ROWS", 12)
    with FeatureFile(run.features_path) as features:
        sample = TrainSample.of(features)
        y = features.labels("train")
    assert (len(sample.y), sample.n_train) == (12, len(y))
    expected = 12 * np.bincount(y) / len(y)
    assert np.abs(np.bincount(sample.y) - expected).max() <= 1


def test_neighbours_are_counted_without_the_image_itself() -> None:
    X = np.array([[1, 1], [1, 1], [-1, -1], [-1, -1]], dtype=np.float32)
    agreement = agreement_of(TrainSample(X, np.array([0, 0, 1, 0], dtype=np.int32), 4))
    assert agreement is not None
    # The nearest of the first two is the other one; that of the last two has another label.
    assert (agreement.n_neighbors, agreement.share) == (1, 0.5)


def test_few_images_prove_nothing() -> None:
    agreement = agreement_of(shuffled(sample_of(np.arange(15) % 3, 1.0)))
    assert agreement is not None
    assert not agreement.is_chance


def test_a_single_image_has_no_neighbours() -> None:
    assert agreement_of(sample_of(np.array([0]), 1.0)) is None


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
