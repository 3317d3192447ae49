"""Heads on embeddings that stay in their file are those of the same embeddings in memory."""

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headbench.cache.errors import FeatureFileError
from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.heads import head as head_module
from headbench.classify.heads import streaming
from headbench.classify.heads.head import Head
from headbench.classify.heads.registry import create_head
from headbench.classify.heads.streaming import StoredRows, embedding_blocks
from headbench.extract.workers.machines import DASK, Machines
from tests.classify.stored_file import write_stored_file
from tests.extract.workers.cluster import cluster_of

# Enough for the optimum to stand still, and no more fits than the choice of C needs.
EXACT: dict[str, dict[str, Any]] = {"logreg": {"tol": 1e-8, "cs": (0.003, 0.03, 0.3)}}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stored_file(tmp_path_factory.mktemp("stored") / "features.h5", n_images=4000)


@pytest.fixture
def features(path: Path) -> Iterator[FeatureFile]:
    with FeatureFile(path) as features:
        yield features


@pytest.fixture(autouse=True)
def small_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many reads and few parts, and val that does not count as small."""
    monkeypatch.setattr(streaming, "READ_BYTES", 100 * 16 * 4)
    monkeypatch.setattr(streaming, "N_PARTS", 3)
    monkeypatch.setattr(head_module, "VAL_SHARE", 0)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Two worker processes on loopback."""
    with cluster_of(2, tmp_path_factory.mktemp("cluster")) as cluster:
        yield Machines(backend=DASK, scheduler=cluster.address)


@pytest.fixture
def processes() -> Machines:
    return Machines(n_jobs=2)


def made(name: str, **settings: Any) -> Head:
    return create_head(name, seed=0).set_params(**EXACT.get(name, {}), **settings)


def in_memory(features: FeatureFile, name: str, **settings: Any) -> Head:
    return made(name, **settings).fit(*features.load("train"), *features.load("val"))


def assert_same(found: Head, wanted: Head, features: FeatureFile, atol: float) -> None:
    X, _ = features.load("test")
    np.testing.assert_array_equal(found.classes_, wanted.classes_)
    np.testing.assert_allclose(found.predict_proba(X), wanted.predict_proba(X), atol=atol)
    loss, wanted_loss = (head.calibration_["log_loss"][0] for head in (found, wanted))
    assert loss == pytest.approx(wanted_loss, rel=1e-4)


def test_they_are_sliced_like_an_array(features: FeatureFile) -> None:
    X, y = features.load("train")
    rows = StoredRows(features, ("train",))
    assert (len(rows), rows.shape, rows.size, rows.dtype) == (len(X), X.shape, X.size, X.dtype)
    np.testing.assert_array_equal(rows[7:300], X[7:300])
    np.testing.assert_array_equal(rows[np.array([5, 1, 400])], X[[5, 1, 400]])
    np.testing.assert_array_equal(rows.labels(), y)
    np.testing.assert_array_equal(rows.part(slice(50, 90)).part(slice(5, 20))[:], X[55:70])


def test_two_splits_together_are_in_the_order_of_the_file(features: FeatureFile) -> None:
    both = StoredRows(features, ("train", "val"))
    kept = np.sort(np.concatenate([features.rows("train"), features.rows("val")]))
    np.testing.assert_array_equal(both[:], features.read(kept))
    np.testing.assert_array_equal(both.labels(), features.table.labels[kept])


def test_blocks_cover_all_rows_in_order(features: FeatureFile) -> None:
    X, _ = features.load("train")
    blocks = list(embedding_blocks(StoredRows(features, ("train",))))
    assert len(blocks) == -(-len(X) // 100)
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), X)
    for rows, block in blocks:
        np.testing.assert_array_equal(block, X[rows])


def test_an_address_is_small_and_leads_to_the_same_rows(features: FeatureFile) -> None:
    some = StoredRows(features, ("val",)).part(slice(20, 60))
    message = pickle.dumps(some.address())
    assert len(message) < 1000
    np.testing.assert_array_equal(pickle.loads(message).open()[:], some[:])  # noqa: S301, our own


def test_a_worker_without_the_file_or_with_another_says_so(
    features: FeatureFile, tmp_path: Path
) -> None:
    copy = shutil.copy(features.path, tmp_path / "copy.h5")
    with FeatureFile(copy) as copied:
        address = StoredRows(copied, ("train",)).address()
    with copy.open("ab") as file:
        file.write(b"more")
    with pytest.raises(RunError, match=r"copy.h5, on the worker .*expected .* bytes.*shared disk"):
        address.open()
    copy.unlink()
    with pytest.raises(RunError, match=r"cannot be read \(No such file.*shared disk"):
        address.open()


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize(
    ("name", "atol"), [("prior", 1e-7), ("centroid", 1e-5), ("ridge", 1e-6), ("logreg", 1e-3)]
)
def test_a_head_fitted_on_the_file_is_that_fitted_in_memory(
    features: FeatureFile, name: str, atol: float, class_weight: str | None
) -> None:
    found = made(name, class_weight=class_weight).fit_file(features)
    wanted = in_memory(features, name, class_weight=class_weight)
    assert_same(found, wanted, features, atol)
    assert found.history_.keys() == wanted.history_.keys()


def test_fewer_rows_than_columns_are_no_exception(tmp_path: Path) -> None:
    path = write_stored_file(tmp_path / "few.h5", n_images=120, dim=90)
    with FeatureFile(path) as features:
        assert len(features.rows("train")) < features.dim
        for name in ("ridge", "logreg"):
            assert_same(made(name).fit_file(features), in_memory(features, name), features, 1e-3)


@pytest.mark.parametrize("kind", [pytest.param("processes", marks=pytest.mark.long), "cluster"])
def test_other_machines_give_the_same_heads_to_the_bit_each_time(
    features: FeatureFile, kind: str, request: pytest.FixtureRequest
) -> None:
    machines = request.getfixturevalue(kind)
    for name, atol in (("ridge", 1e-6), ("logreg", 1e-3)):
        found = made(name).fit_file(features, machines)
        assert_same(found, in_memory(features, name), features, atol)
    again = made("logreg").fit_file(features, machines)
    np.testing.assert_array_equal(again.kernel_, found.kernel_)


@pytest.mark.parametrize("projection", ["none", "scores"])
def test_trees_on_the_file_are_those_in_memory(features: FeatureFile, projection: str) -> None:
    settings = {"projection": projection, "max_rounds": 15, "feature_fraction": 1.0}
    found = made("lightgbm", **settings).fit_file(features)
    wanted = in_memory(features, "lightgbm", **settings)
    assert found.chosen_ == wanted.chosen_
    assert_same(found, wanted, features, atol=1e-3)


def test_trees_train_here_where_a_cluster_sums_their_scores(
    features: FeatureFile, cluster: Machines
) -> None:
    settings = {"projection": "scores", "max_rounds": 15, "feature_fraction": 1.0}
    found = made("lightgbm", **settings).fit_file(features, cluster)
    wanted = in_memory(features, "lightgbm", **settings)
    assert found.chosen_ == wanted.chosen_
    assert_same(found, wanted, features, atol=1e-3)


@pytest.mark.parametrize("name", ["ridge", "logreg"])
def test_weights_of_images_count_from_the_file_as_in_memory(tmp_path: Path, name: str) -> None:
    path = write_stored_file(tmp_path / "weighted.h5", n_images=1000, is_weighted=True)
    with FeatureFile(path) as features:
        data = (*features.load("train"), *features.load("val"))
        weights = [features.weights(split) for split in ("train", "val")]
        found = made(name).fit_file(features)
        assert_same(found, made(name).fit(*data, *weights), features, atol=1e-3)
        X, _ = features.load("test")
        unweighted = made(name).fit(*data)
        assert np.abs(found.predict_proba(X) - unweighted.predict_proba(X)).max() > 1e-2
        both = StoredRows(features, ("train", "val")).weights()
        is_one = np.isin(np.arange(features.n_images), features.rows("test"), invert=True)
        np.testing.assert_array_equal(both, features.table.weights[is_one])


def test_a_network_learns_from_the_file(features: FeatureFile) -> None:
    found = made("mlp-128", max_epochs=20).fit_file(features)
    X, y = features.load("test")
    assert found.score(X, y) > in_memory(features, "centroid").score(X, y) - 0.05


@pytest.mark.parametrize("name", ["ridge", "logreg"])
def test_a_refit_on_the_file_is_that_in_memory(features: FeatureFile, name: str) -> None:
    (X, y), (X_val, y_val) = features.load("train"), features.load("val")
    first = in_memory(features, name)
    wanted = first.refit(np.concatenate([X, X_val]), np.concatenate([y, y_val]))
    found = made(name).fit_file(features).refit_file(features)
    assert found.chosen_.keys() == wanted.chosen_.keys()
    assert_same(found, wanted, features, atol=1e-3)
    assert np.abs(found.kernel_ - first.kernel_).max() > 1e-3


@pytest.mark.parametrize("name", ["knn", "vote"])
def test_what_needs_memory_says_so(features: FeatureFile, name: str) -> None:
    with pytest.raises(ValueError, match="needs its embeddings in memory"):
        made(name).fit_file(features)


@pytest.mark.parametrize("machines", [Machines(), Machines(n_jobs=2)], ids=str)
def test_damage_is_one_clear_error_wherever_it_is_read(
    path: Path, tmp_path: Path, machines: Machines
) -> None:
    copy = shutil.copy(path, tmp_path / "damaged.h5")
    with FeatureFile(copy) as features:
        first = features.load("train")[0][0].tobytes()
    content = copy.read_bytes()
    at = content.index(first)
    copy.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with FeatureFile(copy) as features, pytest.raises(FeatureFileError, match="checksum"):
        made("ridge").fit_file(features, machines)
