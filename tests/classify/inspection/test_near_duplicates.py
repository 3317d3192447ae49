from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.inspection import near_duplicates, principal_axes, similarity_search
from headbench.classify.inspection.near_duplicates import (
    Duplicates,
    Pair,
    find_duplicates,
    find_pairs,
)
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.benchmarks.brute_force import brute_force_pairs
from tests.benchmarks.food101_like import World
from tests.classify.inspection.conftest import N_CLASSES, Writer

TRAIN, VAL, TEST = 0, 1, 2


def found_in(path: Path) -> Duplicates:
    with FeatureFile(path) as features:
        return find_duplicates(features)


def near_rows(found: Duplicates) -> set[tuple[int, int]]:
    return {(pair.first, pair.second) for pair in found.pairs if not pair.is_exact}


def apart(n_images: int, dim: int = 64, seed: int = 0) -> np.ndarray:
    """Embeddings of which no two are near."""
    return np.random.default_rng(seed).normal(size=(n_images, dim))


def noisy(X: np.ndarray, share: float = 0.02) -> np.ndarray:
    return X * np.random.default_rng(1).normal(1, share, X.shape)


def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many leaves, chunks, tiles and batches, where 1 500 rows would fit into one of each."""
    for module, name, value in (
        (similarity_search, "LEAF_ROWS", 50),
        (similarity_search, "CHUNK_ROWS", 100),
        (similarity_search, "TILE_ROWS", 200),
        (similarity_search, "GATHERED_ROWS", 3),
        (similarity_search, "MOST_CANDIDATES", 20),
    ):
        monkeypatch.setattr(module, name, value)


def test_one_file_in_two_splits_is_an_exact_pair(write: Writer) -> None:
    splits = [TRAIN, TEST, TRAIN, VAL]
    found = found_in(write(apart(4), splits, numbers=[0, 7, 2, 7]))
    assert found.pairs == [Pair(1, 3, 1.0, is_exact=True)]
    assert (found.n_pairs, found.n_exact) == (1, 1)


def test_one_file_under_two_labels_is_an_exact_pair_within_a_split_too(write: Writer) -> None:
    found = found_in(write(apart(4), [TRAIN] * 4, [0, 1, 2, 3], [0, 7, 2, 7]))
    assert found.pairs == [Pair(1, 3, 1.0, is_exact=True)]


def test_copies_of_one_split_and_label_are_no_pair(write: Writer) -> None:
    X = apart(40)
    X[1] = noisy(X[:1])
    found = found_in(write(X, [TRAIN] * 40, numbers=[*range(39), 5]))
    assert found.pairs == []
    assert found.n_pairs == 0


def test_near_copies_in_two_splits_or_under_two_labels_are_pairs(write: Writer) -> None:
    X = apart(60)
    X[10:13] = noisy(X[:3])
    splits, labels = np.zeros(60, int), np.zeros(60, int)
    splits[10], labels[11] = TEST, 4
    found = found_in(write(X, splits, labels))
    assert near_rows(found) == {(0, 10), (1, 11)}
    for pair in found.pairs:
        a, b = X[pair.first], X[pair.second]
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert pair.similarity == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize("store", ["float32", "float16"])
@pytest.mark.parametrize("share", [0.3, 1.3])
def test_the_search_finds_what_brute_force_finds(
    write: Writer, monkeypatch: pytest.MonkeyPatch, store: str, share: float
) -> None:
    small_steps(monkeypatch)
    monkeypatch.setattr(principal_axes, "NEAREST_SHARE", share)
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 1_000_000)
    X, labels = World(N_CLASSES, dim=256).draw(1500, seed=1)
    X[700:720] = noisy(X[:20])
    numbers = np.arange(1500)
    X[1400:1410], numbers[1400:1410] = X[:10], numbers[:10]
    with FeatureFile(write(X, labels=labels, numbers=numbers, store=store)) as features:
        found = find_duplicates(features)
        assert found.threshold is not None
        expected = brute_force_pairs(features, found.threshold)
        different = features.table.splits[:20] != features.table.splits[700:720]
    assert near_rows(found) == expected
    planted = {(row, row + 700) for row in np.flatnonzero(different)}
    assert planted <= expected
    assert len(expected) > (300 if share == 1.3 else 0)
    assert found.n_pairs == found.n_exact + len(expected)


def test_pairs_are_all_exact_ones_then_the_most_similar(write: Writer) -> None:
    X = apart(90)
    X[30:34] = noisy(X[:4])
    found = found_in(write(X, labels=np.arange(90) % 4, numbers=[*range(88), 20, 21]))
    is_exact = [pair.is_exact for pair in found.pairs]
    assert is_exact == sorted(is_exact, reverse=True)
    similarities = [pair.similarity for pair in found.pairs]
    assert similarities == sorted(similarities, reverse=True)
    assert {pair.first < pair.second for pair in found.pairs} == {True}
    assert (found.n_exact, found.n_pairs) == (2, 6)


def test_only_the_most_similar_pairs_are_kept_and_all_are_counted(
    write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = apart(90)
    X[30:50] = noisy(X[:20])
    path = write(X, np.arange(90) // 30 % 2)
    everything = found_in(path)
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 7)
    small_steps(monkeypatch)
    found = found_in(path)
    assert everything.n_pairs == found.n_pairs == 20
    assert found.pairs == everything.pairs[:7]


def test_more_exact_pairs_than_are_kept_are_counted(
    write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 7)
    places = [(split, label) for split in range(3) for label in range(N_CLASSES)]
    splits, labels = np.array(places).T
    found = found_in(write(np.ones((15, 40)), splits, labels, [0] * 15))
    expected = [Pair(a, b, 1.0, is_exact=True) for a, b in combinations(range(15), 2)]
    assert found.pairs == expected[:7]
    assert found.n_pairs == found.n_exact == len(expected)


def test_a_thousand_copies_in_two_splits_are_one_pair(write: Writer) -> None:
    X = np.concatenate([apart(50), np.ones((1000, 64))])
    splits = np.arange(1050) % 2
    found = found_in(write(X, splits, numbers=[*range(50), *[50] * 1000]))
    assert found.pairs == [Pair(50, 51, 1.0, is_exact=True)]
    assert found.n_pairs == 1


def test_embeddings_that_are_zero_are_near_nothing(write: Writer) -> None:
    X = apart(40)
    X[:10] = 0
    X[20:25] = noisy(X[30:35])
    assert near_rows(found_in(write(X))) == {(20, 30), (21, 31), (22, 32), (23, 33), (24, 34)}


def test_columns_that_are_constant_do_no_harm(write: Writer) -> None:
    X = apart(60, dim=100)
    X[:, 50:] = 3
    X[31] = noisy(X[:1])
    assert near_rows(found_in(write(X))) == {(0, 31)}


@pytest.mark.parametrize("n_images", [1, 2, 3])
def test_few_images_are_looked_at_too(write: Writer, n_images: int) -> None:
    assert found_in(write(apart(n_images))).pairs == []


def test_a_network_that_answers_the_same_to_every_image_has_no_near_copies(write: Writer) -> None:
    X = 1 + 1e-4 * apart(300)
    found = found_in(write(X, numbers=[*range(299), 0], labels=[0] * 299 + [1]))
    assert found.threshold is None
    assert found.pairs == [Pair(0, 299, 1.0, is_exact=True)]


def test_in_few_columns_only_exact_copies_are_looked_for(write: Writer) -> None:
    found = found_in(write(apart(100, dim=3), numbers=[*range(99), 1]))
    assert found.threshold is None
    assert found.pairs == [Pair(1, 99, 1.0, is_exact=True)]


def test_near_copies_are_found_where_every_image_has_one(write: Writer) -> None:
    X = apart(100)
    found = found_in(write(np.concatenate([X, noisy(X)]), [TRAIN] * 100 + [TEST] * 100))
    assert near_rows(found) == {(row, row + 100) for row in range(100)}


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1e30])
def test_the_scale_of_embeddings_does_not_matter(write: Writer, factor: float) -> None:
    X = apart(60)
    X[31] = noisy(X[:1])
    scale = np.where(np.arange(60) % 2, factor, 1)[:, None]
    assert near_rows(found_in(write(X * scale))) == {(0, 31)}


@pytest.mark.real
def test_photographs_saved_once_more_are_found(shared: Path, tmp_path: Path) -> None:
    photos, copies = tmp_path / "photos", set()
    folders = sorted((shared / "data/food10/images").iterdir())[:3]
    for folder in folders:
        for number, source in enumerate(sorted(folder.iterdir())[:16]):
            image = Image.open(source).convert("RGB")
            split = ("train", "train", "val", "test")[number % 4]
            save(image, photos / split / folder.name / source.name)
            if split == "train" and number % 3 == 0:
                copy = photos / "test" / folder.name / f"copy-{source.name}"
                smaller = image.resize((image.width * 4 // 5, image.height * 4 // 5))
                save(smaller, copy, quality=60)
                copies.add(
                    (f"test/{folder.name}/{copy.name}", f"train/{folder.name}/{source.name}")
                )
    settings = ExtractSettings(
        weights=str(shared / "weights/resnet50_notop.weights.h5"), size_px=96
    )
    extract_features(photos, tmp_path / "features.h5", settings)
    with FeatureFile(tmp_path / "features.h5") as features:
        paths = features.table.paths
        found = find_duplicates(features)
    assert {(paths[pair.first], paths[pair.second]) for pair in found.pairs} == copies


def save(image: Image.Image, path: Path, quality: int = 95) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=quality)


@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_all_pairs_are_those_of_a_search_by_hand(
    write: Writer, monkeypatch: pytest.MonkeyPatch, threshold: float
) -> None:
    small_steps(monkeypatch)
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(60, 40)), 5, axis=0)
    X += rng.normal(scale=np.repeat(rng.uniform(0.1, 1, 60), 5)[:, None], size=X.shape)
    path, chosen = write(X, splits=[TRAIN] * 300), np.arange(7, 290)
    with FeatureFile(path) as features:
        found = find_pairs(features, chosen, threshold)
        U = principal_axes.unit(features.read(chosen))
    expected = {
        (int(chosen[i]), int(chosen[j]))
        for i, j in combinations(range(len(U)), 2)
        if U[i] @ U[j] >= threshold
    }
    assert (near_rows(found), found.n_pairs, found.threshold) == (
        expected,
        len(expected),
        threshold,
    )
    assert 50 < len(expected) < 2000


def test_copies_and_pairs_of_one_class_and_split_are_among_all_pairs(write: Writer) -> None:
    X = apart(90)
    X[1], X[3], X[4] = X[0], X[2], noisy(X[2:3])[0]
    numbers = [*range(90)]
    numbers[1] = 0
    path = write(X, splits=[TRAIN] * 90, numbers=numbers)
    assert found_in(path).pairs == []
    with FeatureFile(path) as features:
        found = find_pairs(features, np.arange(90))
    assert (found.n_pairs, found.n_exact) == (4, 1)
    assert found.pairs[0] == Pair(0, 1, 1.0, is_exact=True)
    assert near_rows(found) == {(2, 3), (2, 4), (3, 4)}


def test_few_columns_are_compared_if_a_threshold_is_named(write: Writer) -> None:
    path = write(np.array([[1, 0], [1, 0.1], [0, 1]]))
    with FeatureFile(path) as features:
        assert find_pairs(features, np.arange(3)).threshold is None
        assert near_rows(find_pairs(features, np.arange(3), 0.9)) == {(0, 1)}


def test_more_pairs_than_fit_in_memory_are_refused(
    write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similarity_search, "MOST_OF_LEAF", 1000)
    with (
        FeatureFile(write(np.abs(apart(200)))) as features,
        pytest.raises(RunError, match=r"may reach 0\.1: .* Choose a higher threshold"),
    ):
        find_pairs(features, np.arange(200), 0.1)
