from pathlib import Path

import numpy as np
import pytest

from headbench.classify.errors import RunError
from headbench.classify.heads.boosting import LightGBM
from headbench.classify.heads.head import Head
from headbench.classify.heads.keras_head import keras_head
from headbench.classify.heads.logreg import LogReg
from headbench.classify.heads.mlp import MLP
from headbench.classify.heads.ridge import Ridge
from headbench.classify.heads.simple import KNN, Centroid, Prior
from headbench.classify.heads.vote import Vote
from headbench.classify.train_heads import class_proba
from headbench.extract.networks.keras_runtime import load_keras

DIM, N_CLASSES = 12, 5
QUICK_MLP = MLP(max_epochs=3)
HEADS: dict[str, Head] = {
    "logreg": LogReg(),
    "ridge": Ridge(),
    "centroid": Centroid(),
    "mlp-128": QUICK_MLP,
    "mlp": MLP(hidden=(9, 7), batch_norm=True, max_epochs=3),
    "vote": Vote((("ridge", Ridge()), ("a", QUICK_MLP), ("b", QUICK_MLP))),
    "vote of one": Vote((("logreg", LogReg()),)),
}


def embeddings(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns around a mean far from 0, some of them dull, as a network's are."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, N_CLASSES, n)
    X = rng.normal(size=(n, DIM)) * np.linspace(0.01, 3, DIM) + 5
    X[:, :N_CLASSES] += 0.5 * np.eye(N_CLASSES)[y]
    return X.astype(np.float32), y


def fitted(head: Head, labels: np.ndarray | None = None) -> Head:
    X, y = embeddings(300, seed=0)
    X_val, y_val = embeddings(100, seed=1)
    if labels is not None:
        y, y_val = labels[y], labels[y_val]
    return type(head)(**head.get_params(deep=False)).fit(X, y, X_val, y_val)


def assert_same(head: Head, n_classes: int, X: np.ndarray) -> None:
    found = np.asarray(keras_head(head, n_classes)(X, training=False))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, class_proba(head, X, n_classes), atol=2e-5)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("temperature", [None, 1.0, 0.5, 60.0])
def test_the_layers_give_the_probabilities_of_the_head(
    name: str, temperature: float | None
) -> None:
    head = fitted(HEADS[name])
    if temperature is not None:
        head.temperature_ = temperature
    X, _ = embeddings(50, seed=2)
    assert_same(head, N_CLASSES, X)


@pytest.mark.parametrize("name", ["logreg", "mlp-128", "vote"])
def test_probabilities_below_the_smallest_float_are_cut_off_as_in_the_head(name: str) -> None:
    head = fitted(HEADS[name])
    head.temperature_ = 50.0
    X, _ = embeddings(50, seed=2)
    assert_same(head, N_CLASSES, 200 * X)


@pytest.mark.parametrize("name", HEADS)
def test_a_class_that_was_not_seen_has_probability_0(name: str) -> None:
    seen = np.array([0, 2, 3, 4, 6])
    head = fitted(HEADS[name], labels=seen)
    X, _ = embeddings(50, seed=2)
    assert_same(head, 8, X)
    found = np.asarray(keras_head(head, 8)(X, training=False))
    assert (found[:, [1, 5, 7]] == 0).all()


@pytest.mark.parametrize("name", HEADS)
def test_saved_it_loads_as_built_in_layers(name: str, tmp_path: Path) -> None:
    head = fitted(HEADS[name], labels=np.array([0, 1, 2, 3, 5]))
    model = keras_head(head, 6)
    model.save(tmp_path / "head.keras")
    loaded = load_keras().saving.load_model(tmp_path / "head.keras", safe_mode=True)
    X, _ = embeddings(50, seed=2)
    np.testing.assert_array_equal(loaded(X), model(X))


def test_training_the_layers_leaves_the_head_and_batch_normalization_alone() -> None:
    head = fitted(HEADS["mlp"])
    X, y = embeddings(64, seed=2)
    before = head.predict_proba(X)
    model = keras_head(head, N_CLASSES)
    norms = [each for each in model.layers if "batch_norm" in each.name]
    moments = [weight for norm in norms for weight in norm.get_weights()]
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, y, verbose=0)
    assert not np.allclose(model(X), before, atol=1e-6)
    np.testing.assert_array_equal(head.predict_proba(X), before)
    assert len(norms) == 1
    for old, new in zip(moments, norms[0].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (KNN(), "KNN"),
        (Prior(), "Prior"),
        (LightGBM(max_rounds=2), "LightGBM"),
        (Vote((("knn", KNN()),)), r"KNN \(of Vote\)"),
    ],
)
def test_what_has_no_layers_is_refused_by_name(head: Head, named: str) -> None:
    with pytest.raises(
        RunError, match=rf"{named} cannot be converted .*expected one of centroid, ridge, logreg"
    ):
        keras_head(fitted(head), N_CLASSES)
