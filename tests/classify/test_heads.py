"""The contract that every head keeps; nothing here knows what kind of head it has."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.class_weight import compute_sample_weight

from headbench.classify.arrays import load_arrays
from headbench.classify.errors import RunError
from headbench.classify.heads.head import CLASSES_FILE, Head
from headbench.classify.heads.registry import HEADS, create_head, load_head, parameters
from headbench.classify.metrics import log_losses

N_CLASSES = (2, 5)
# `mlp`, and networks of the user's own widths, are the kind of `mlp-128` with other layers.
NAMES = [name for name in HEADS if name != "mlp"]
# Plans that are long enough for a few hundred images.
SHORT: dict[str, dict[str, float]] = {
    "mlp-128": {"max_epochs": 25, "learning_rate": 0.02},
    "lightgbm": {"max_rounds": 40, "n_rounds": 40},
}
every_head = pytest.mark.parametrize("name", NAMES)
# All but chance itself.
every_learner = pytest.mark.parametrize("name", [name for name in NAMES if name != "prior"])

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def separable(n_classes: int, n: int = 40, dim: int = 12, seed: int = 0) -> Data:
    """Well separated blobs, as embeddings are: not negative, on unequal scales."""
    rng = np.random.default_rng(seed)
    centers = rng.uniform(0, 6, (n_classes, dim))
    y = np.tile(np.arange(n_classes), 2 * n)
    X = np.abs(centers[y] + rng.normal(0, 0.7, (len(y), dim))) * np.logspace(-1, 1, dim)
    X = X.astype(np.float32)
    half = n_classes * n
    return X[:half], y[:half], X[half:], y[half:]


def made(name: str, **settings: object) -> Head:
    """A head that is quick to fit."""
    return create_head(name, seed=0).set_params(**{**SHORT.get(name, {}), **settings})


@pytest.fixture(scope="module")
def fitted() -> dict[tuple[str, int], Head]:
    """Every head fitted once on blobs of 2 and of 5 classes."""
    return {
        (name, n_classes): made(name).fit(*separable(n_classes))
        for name in NAMES
        for n_classes in N_CLASSES
    }


@every_learner
@pytest.mark.parametrize("n_classes", N_CLASSES)
def test_separable_classes_are_told_apart(
    fitted: dict[tuple[str, int], Head], name: str, n_classes: int
) -> None:
    _, _, X_val, y_val = separable(n_classes)
    assert fitted[name, n_classes].score(X_val, y_val) > 0.9


def test_a_network_that_begins_with_batch_normalization_learns_by_the_end_of_its_plan() -> None:
    X, y, X_val, y_val = separable(5)
    assert create_head("mlp", seed=0).fit(X, y, X_val, y_val).score(X_val, y_val) > 0.9


@every_learner
def test_columns_that_vary_little_around_a_large_mean_are_told_apart_too(name: str) -> None:
    """What pooled activations of a deep network look like; raw, they blind a Dropout."""
    X, y, X_val, y_val = separable(5)
    X, X_val = (3 + 0.01 * (array - X.mean(axis=0)) / X.std(axis=0) for array in (X, X_val))
    assert made(name).fit(X, y, X_val, y_val).score(X_val, y_val) > 0.9


@every_head
@pytest.mark.parametrize("n_classes", N_CLASSES)
def test_probabilities_are_probabilities(
    fitted: dict[tuple[str, int], Head], name: str, n_classes: int
) -> None:
    X = separable(n_classes)[2]
    head = fitted[name, n_classes]
    proba = head.predict_proba(X)
    assert proba.shape == (len(X), n_classes)
    assert proba.dtype == np.float32
    assert (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(head.predict(X), head.classes_[proba.argmax(axis=1)])


@every_head
def test_text_labels_give_what_integers_give_column_by_column(name: str) -> None:
    """Names that images come in another order than the alphabet's, one class rarer than others."""
    X, y, X_val, y_val = separable(5)
    X, y = X[::-1], y[::-1]
    is_kept = (y != 3) | (np.arange(len(y)) % 2 == 0)
    X, y = X[is_kept], y[is_kept]
    names = np.array(["寿司", "baklava", "z", "apple", "crème brûlée"])
    numbers = np.array([4, 1, 3, 0, 2])  # the place of each in the alphabet
    text, integers = (made(name).fit(X, of[y], X_val, of[y_val]) for of in (names, numbers))
    assert text.classes_.tolist() == sorted(names)
    np.testing.assert_array_equal(text.predict_proba(X_val), integers.predict_proba(X_val))
    np.testing.assert_array_equal(text.predict(X_val), text.classes_[integers.predict(X_val)])
    if name != "prior":
        assert text.score(X_val, names[y_val]) > 0.5


@every_learner
def test_columns_follow_classes_whatever_the_order_of_images(name: str) -> None:
    X, y, X_val, y_val = separable(5)
    labels = np.array([30, 10, 50, 20, 40])
    head = made(name).fit(X[::-1], labels[y][::-1], X_val, labels[y_val])
    np.testing.assert_array_equal(head.classes_, [10, 20, 30, 40, 50])
    proba = head.predict_proba(X_val)
    column = np.searchsorted(head.classes_, labels[y_val])
    assert (proba.argmax(axis=1) == column).mean() > 0.9


@every_head
def test_the_same_seed_gives_the_same_output(
    fitted: dict[tuple[str, int], Head], name: str
) -> None:
    X_val = separable(5)[2]
    again = made(name).fit(*separable(5))
    np.testing.assert_array_equal(again.predict_proba(X_val), fitted[name, 5].predict_proba(X_val))
    assert again.chosen_ == fitted[name, 5].chosen_


@every_head
def test_input_is_not_modified(name: str) -> None:
    data = separable(2)
    before = [array.copy() for array in data]
    head = made(name).fit(*data)
    head.predict_proba(data[2])
    for array, copy in zip(data, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@every_head
@pytest.mark.parametrize("n_classes", N_CLASSES)
def test_a_saved_head_equals_itself(
    fitted: dict[tuple[str, int], Head], name: str, n_classes: int, tmp_path: Path
) -> None:
    head, X = fitted[name, n_classes], separable(n_classes)[2]
    head.save(tmp_path)
    loaded = load_head(tmp_path)
    np.testing.assert_allclose(loaded.predict_proba(X), head.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(loaded.classes_, head.classes_)


@every_head
def test_nothing_saved_is_a_pickle(
    fitted: dict[tuple[str, int], Head], name: str, tmp_path: Path
) -> None:
    fitted[name, 5].save(tmp_path)
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert suffixes <= {".npz", ".txt", ".keras", ".json"}
    for path in tmp_path.rglob("*.npz"):
        assert all(array.dtype != object for array in load_arrays(path).values())


@every_head
def test_a_pickle_in_place_of_an_array_is_refused(
    fitted: dict[tuple[str, int], Head], name: str, tmp_path: Path
) -> None:
    fitted[name, 5].save(tmp_path)
    np.savez(tmp_path / CLASSES_FILE, classes=np.array([{"a": 1}], dtype=object))
    with pytest.raises(RunError, match=r"cannot be loaded .*allow_pickle=False"):
        load_head(tmp_path)


@every_head
def test_a_damaged_file_is_named_and_not_a_traceback(
    fitted: dict[tuple[str, int], Head], name: str, tmp_path: Path
) -> None:
    fitted[name, 5].save(tmp_path)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        path.write_bytes(whole[: min(40, len(whole) // 2)])
        with pytest.raises(RunError, match=f"{tmp_path}.*: cannot be loaded"):
            load_head(tmp_path)
        path.write_bytes(whole)


@every_head
def test_a_wrong_width_names_both_widths(fitted: dict[tuple[str, int], Head], name: str) -> None:
    with pytest.raises(ValueError, match=r"11 .*12"):
        fitted[name, 5].predict_proba(separable(5)[2][:, :11])


@every_head
def test_an_embedding_that_is_not_finite_is_refused(name: str) -> None:
    X, y, X_val, y_val = separable(2)
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 80 rows, the first is row 3"):
        made(name).fit(X, y, X_val, y_val)


@every_head
def test_one_class_and_unknown_val_classes_are_refused(name: str) -> None:
    X, y, X_val, y_val = separable(2)
    with pytest.raises(ValueError, match="at least 2 classes"):
        made(name).fit(X, np.zeros_like(y), X_val, y_val)
    with pytest.raises(ValueError, match=r"val that train does not have: \[7\]"):
        made(name).fit(X, y, X_val, np.where(y_val == 1, 7, 0))


@every_learner
def test_a_head_fits_without_val(name: str) -> None:
    X, y, X_val, y_val = separable(5)
    assert made(name).fit(X, y).score(X_val, y_val) > 0.8


@every_head
def test_scikit_learn_can_clone_it(name: str) -> None:
    head = create_head(name, seed=3)
    assert clone(head).get_params().keys() == head.get_params().keys()
    assert repr(clone(head)) == repr(head)
    with pytest.raises(NotFittedError):
        head.predict_proba(np.zeros((1, 12), dtype=np.float32))


@every_head
def test_shuffled_labels_give_chance(name: str) -> None:
    X, y, X_val, y_val = separable(5, n=100)
    rng = np.random.default_rng(0)
    head = made(name).fit(X, rng.permutation(y), X_val, rng.permutation(y_val))
    # Chance is 0.2; 500 images of blobs that a head may name alike.
    assert head.score(X_val, y_val) < 0.5


@every_head
def test_a_temperature_is_fitted_on_val_and_lowers_its_log_loss(name: str) -> None:
    X, y, X_val, y_val = separable(5)
    rng = np.random.default_rng(0)
    y_val = np.where(rng.random(len(y_val)) < 0.3, rng.permutation(y_val), y_val)
    head = made(name).fit(X, y, X_val, y_val)
    assert (head.temperature_ == 1) == (name == "prior")
    before, after = head.calibration_["log_loss"]
    assert after <= before + 1e-6
    of_truth = head.predict_proba(X_val)[np.arange(len(y_val)), y_val]
    assert -np.log(np.maximum(of_truth, 1e-7)).mean() == pytest.approx(after, rel=1e-3)
    assert made(name).fit(X, y).temperature_ == 1


@every_learner
def test_a_refit_learns_from_what_it_is_given_with_what_val_chose(
    fitted: dict[tuple[str, int], Head], name: str
) -> None:
    X, y, X_val, y_val = separable(5)
    head = fitted[name, 5]
    X_all, y_all = np.concatenate([X, X_val]), np.concatenate([y, y_val])
    again = head.refit(X_all, y_all)
    assert again is not head
    assert again.chosen_ == head.chosen_
    assert again.temperature_ == head.temperature_
    assert again.score(X_val, y_val) > 0.9
    assert np.abs(again.predict_proba(X) - head.predict_proba(X)).max() > 0


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("prior", "vote")])
def test_balanced_weights_help_a_rare_class(name: str) -> None:
    """Two overlapping blobs, 20 to 1."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [400, 20])
    X = rng.normal(size=(420, 6)).astype(np.float32) + y[:, None]
    X_test = rng.normal(size=(300, 6)).astype(np.float32) + 1
    plain, balanced = (made(name, class_weight=each).fit(X, y, X, y) for each in (None, "balanced"))
    found = [head.predict_proba(X_test)[:, 1].mean() for head in (plain, balanced)]
    assert found[1] > found[0] + 0.01


@pytest.mark.parametrize("name", [name for name in NAMES if name != "vote"])
def test_weights_of_images_are_what_the_same_weights_of_classes_are(name: str) -> None:
    X, y, X_val, y_val = separable(2)
    rng = np.random.default_rng(0)
    X, X_val = (array + rng.normal(size=array.shape).astype(np.float32) for array in (X, X_val))
    y, y_val = (np.where(rng.random(len(each)) < 0.2, 0, each) for each in (y, y_val))
    weight, weight_val = (compute_sample_weight("balanced", each) for each in (y, y_val))
    wanted = made(name, class_weight="balanced").fit(X, y, X_val, y_val)
    # Their size says nothing: they are of images beside each other.
    found = made(name).fit(X, y, X_val, y_val, 2 * weight, 1000 * weight_val)
    np.testing.assert_allclose(
        found.predict_proba(X_val), wanted.predict_proba(X_val), rtol=1e-3, atol=1e-5
    )
    assert found.chosen_ == wanted.chosen_
    plain = made(name).fit(X, y, X_val, y_val)
    assert np.abs(plain.predict_proba(X_val) - wanted.predict_proba(X_val)).max() > 1e-3


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 0.0], "above zero, found 0.0 in row 1"),
        ([np.nan, 1.0], "above zero, found nan in row 0"),
        ([1.0], r"expected shape \(80,\), found \(1,\)"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights: list[float], message: str) -> None:
    X, y, X_val, y_val = separable(2)
    given = np.resize(weights, 1 if len(weights) == 1 else len(y))
    with pytest.raises(ValueError, match=message):
        create_head("ridge", seed=0).fit(X, y, X_val, y_val, sample_weight=given)
    with pytest.raises(ValueError, match=message):
        create_head("ridge", seed=0).fit(X, y, X_val, y_val, sample_weight_val=given)


@every_learner
def test_constant_columns_and_duplicated_rows_do_no_harm(name: str) -> None:
    X, y, X_val, y_val = separable(5)
    X, X_val = X.copy(), X_val.copy()
    for array in (X, X_val):
        array[:, 3], array[:, 7] = 0, 1e4
    X, y = np.concatenate([X, X[:50]]), np.concatenate([y, y[:50]])
    assert made(name).fit(X, y, X_val, y_val).score(X_val, y_val) > 0.9


@every_head
def test_a_class_of_one_image_and_a_class_that_val_lacks_are_fitted(name: str) -> None:
    X, y, X_val, y_val = separable(5)
    kept = (y != 4) | (np.arange(len(y)) == 4)
    in_val = y_val != 4
    head = made(name).fit(X[kept], y[kept], X_val[in_val], y_val[in_val])
    proba = head.predict_proba(X_val)
    assert proba.shape == (len(X_val), 5)
    assert np.isfinite(proba).all()


@every_head
def test_more_columns_than_images_are_fitted(name: str) -> None:
    rng = np.random.default_rng(0)
    y = np.tile([0, 1, 2], 10)
    X = (rng.normal(size=(30, 200)) + 3 * np.eye(3)[y].repeat(67, axis=1)[:, :200]).astype(
        np.float32
    )
    head = made(name).fit(X, y, X, y)
    assert head.score(X, y) > (0.3 if name == "prior" else 0.9)


@pytest.mark.parametrize("name", [name for name in HEADS if name != "vote"])
def test_every_parameter_has_a_range(name: str) -> None:
    head = create_head(name, seed=0)
    assert head.get_params(deep=False).keys() <= parameters()
    assert head.ranges.keys() <= head.get_params(deep=False).keys()


@pytest.mark.parametrize(
    ("name", "wrong", "phrase"),
    [
        ("logreg", {"cs": [0.1, 0.01]}, "cs: expected numbers above 0, ascending"),
        ("logreg", {"max_iter": 0}, "max_iter: expected a whole number of at least 1, found 0"),
        (
            "lightgbm",
            {"feature_fraction": 2},
            "feature_fraction: expected a number above 0 and at most 1",
        ),
        (
            "mlp",
            {"hidden": "512"},
            "hidden: expected a list of whole numbers of at least 1, found '512'",
        ),
        ("mlp", {"dropout": 1.0}, "dropout: expected a number of at least 0 and below 1"),
        ("knn", {"class_weight": "heavy"}, "class_weight: expected 'balanced' or nothing"),
        ("mlp", {"seed": True}, "seed: expected a whole number"),
    ],
)
def test_a_setting_out_of_range_is_named(name: str, wrong: dict[str, object], phrase: str) -> None:
    with pytest.raises(ValueError, match=phrase):
        made(name, **wrong).fit(*separable(2))


def layers_of(head: Head) -> list[str]:
    names = []
    for layer in head.keras_model().layers:
        config = layer.get_config()
        detail = config.get("rate") or (config.get("units"), config.get("activation"))
        names.append(f"{type(layer).__name__} {detail}")
    return names


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        (
            "mlp",
            [
                "BatchNormalization (None, None)",
                "Dropout 0.2",
                "Dense (512, 'relu')",
                "Dropout 0.5",
            ],
        ),
        ("mlp-128", ["Dropout 0.2", "Dense (128, 'relu')", "Dropout 0.3"]),
        (
            "mlp-96-48",
            [
                *("Dropout 0.2", "Dense (96, 'relu')", "Dropout 0.3"),
                *("Dense (48, 'relu')", "Dropout 0.3"),
            ],
        ),
    ],
)
def test_a_network_has_the_layers_that_it_is_named_for_and_is_saved_with_them(
    name: str, layers: list[str], tmp_path: Path
) -> None:
    X, y, X_val, y_val = separable(5)
    head = create_head(name, seed=0).set_params(max_epochs=1).fit(X, y, X_val, y_val)
    head.save(tmp_path)
    loaded = load_head(tmp_path)
    assert layers_of(head) == layers_of(loaded) == [*layers, "Dense (5, 'softmax')"]
    np.testing.assert_allclose(loaded.predict_proba(X), head.predict_proba(X), atol=1e-6)


def test_a_network_in_float16_learns_too_and_ends_in_float32() -> None:
    X, y, X_val, y_val = separable(5)
    head = made("mlp-128", precision="mixed_float16").fit(X, y, X_val, y_val)
    assert head.score(X_val, y_val) > 0.9
    assert head.model_.layers[1].compute_dtype == "float16"
    assert head.model_.layers[-1].compute_dtype == "float32"


def test_the_learning_rate_falls_to_nothing_by_the_end_of_the_plan() -> None:
    X, y, X_val, y_val = separable(2)
    head = made("mlp-128", max_epochs=10, patience=10)
    head.fit(X, y, X_val, y_val)
    assert float(head.model_.optimizer.learning_rate) < 0.05 * head.learning_rate


def test_the_network_that_an_mlp_keeps_has_the_smallest_log_loss_on_val_of_its_curve() -> None:
    X, y, X_val, y_val = separable(5)
    # Labels that are partly wrong, and steps that are large: the loss falls, and then rises.
    y_val = np.where(np.arange(len(y_val)) % 4 == 0, (y_val + 1) % 5, y_val)
    given = {"max_epochs": 12, "patience": 4, "learning_rate": 0.05}
    head = create_head("mlp-128", seed=0).set_params(**given).fit(X, y, X_val, y_val)
    curve = head.history_["val_log_loss"]
    assert 0 < np.argmin(curve) < len(curve) - 1
    kept = log_losses(y_val, head._proba(X_val)).mean()
    assert kept == pytest.approx(min(curve), rel=1e-6)
    assert head.chosen_ == {"epochs": int(np.argmin(curve)) + 1, "epochs_run": len(curve)}


@pytest.mark.parametrize(("n_classes", "shares"), [(5, ["top1"]), (6, ["top1", "top5"])])
def test_a_network_leaves_loss_and_accuracies_of_train_and_val_by_epoch(
    n_classes: int, shares: list[str]
) -> None:
    X, y, X_val, y_val = separable(n_classes)
    head = create_head("mlp-128", seed=0).set_params(max_epochs=3).fit(X, y, X_val, y_val)
    assert {key: len(values) for key, values in head.history_.items()} == {
        **{f"train_{name}": 3 for name in ("loss", *shares)},
        **{f"val_{name}": 3 for name in ("log_loss", *shares)},
    }


@pytest.mark.parametrize("class_weight", [None, {0: 20.0}])
def test_accuracies_of_the_last_epoch_are_those_of_the_network(
    class_weight: dict[int, float] | None,
) -> None:
    """Without Dropout and with a learning rate of nothing, train too is measured as it stands.

    All of it: of several batches, the last of them shorter.
    """
    X, y, X_val, y_val = separable(7)
    head = create_head("mlp-128", seed=0).set_params(
        max_epochs=1, learning_rate=1e-12, input_dropout=0.0, dropout=0.0, class_weight=class_weight
    )
    head.fit(X, y, X_val, y_val)
    for split, embeddings, labels in (("train", X, y), ("val", X_val, y_val)):
        proba = head._proba(embeddings)
        rank = np.argsort(-proba, axis=1, kind="stable")
        weight = np.where((labels == 0) & (class_weight is not None), 20.0, 1.0)
        for k in (1, 5):
            is_among = (rank[:, :k] == labels[:, None]).any(axis=1)
            found = head.history_[f"{split}_top{k}"]
            assert found == [pytest.approx(np.average(is_among, weights=weight), abs=1e-6)]
    weighted = log_losses(y, head._proba(X)) * np.where(
        (y == 0) & (class_weight is not None), 20, 1
    )
    assert head.history_["train_loss"] == [pytest.approx(weighted.mean(), rel=1e-5)]


def test_metrics_on_train_change_nothing_of_what_is_trained(
    fitted: dict[tuple[str, int], Head], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headbench.classify.heads.mlp.train_metrics", lambda *_: [])
    plain = made("mlp-128").fit(*separable(5))
    head = fitted["mlp-128", 5]
    assert plain.history_["train_loss"] == head.history_["train_loss"]
    assert plain.history_["train_top1"] == []
    for ours, theirs in zip(head.model_.get_weights(), plain.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_trees_leave_their_log_loss_on_train_and_stop_by_that_on_val_alone() -> None:
    X, y, X_val, y_val = separable(5)
    y_val = np.random.default_rng(0).permutation(y_val)
    head = made("lightgbm", patience=4, projection="none")
    head.fit(X, y, X_val, y_val)
    train, val = (np.array(head.history_[f"{split}_log_loss"]) for split in ("train", "val"))
    assert len(train) == len(val) == head.chosen_["rounds"] + 4
    assert head.chosen_["rounds"] == np.argmin(val) + 1
    assert (np.diff(train) < 0).all()
    kept = log_losses(y, head._proba(X)).mean()
    assert kept == pytest.approx(train[head.chosen_["rounds"] - 1], rel=1e-5)


def test_trees_start_from_scores_that_are_better_than_the_first_tree() -> None:
    X, y, X_val, y_val = separable(5)
    head = made("lightgbm", max_rounds=5).fit(X, y, X_val, y_val)
    assert head.booster_.num_feature() == 5 + 12 + 12
    plain = made("lightgbm", max_rounds=5, projection="none").fit(X, y, X_val, y_val)
    assert plain.booster_.num_feature() == 12
    first, last = head.history_["val_log_loss"][0], plain.history_["val_log_loss"][-1]
    assert first < last
    # The kept probabilities are those that the curve was measured on.
    losses = log_losses(y_val, head._proba(X_val))
    assert losses.mean() == pytest.approx(min(head.history_["val_log_loss"]), rel=1e-4)
