import copy

import numpy as np
import pytest

from classify.report.advice import advice


@pytest.fixture
def changed(results: dict) -> dict:
    """Results to change."""
    return copy.deepcopy(results)


def says(results: dict, words: str) -> bool:
    return any(words in sentence for sentence in advice(results))


def test_weights_come_first(changed: dict) -> None:
    changed["features"].update(has_random_weights=True)
    assert advice(changed)[0].startswith("Extract with trained weights")
    changed["features"].update(has_random_weights=False, weights="imagenet")
    changed["features"]["identity"]["size_px"] = 224
    assert not says(changed, "weights")
    assert not says(changed, "224 px")
    changed["features"]["identity"]["size_px"] = 96
    assert says(changed, "these embeddings are of 96 px")


def test_copies_suspects_and_rejected_files_are_counted(changed: dict) -> None:
    changed["duplicates"]["n_pairs"] = 17
    changed["suspects"] = {"n_suspects": 5, "n_looked_at": 99, "head": "logreg", "images": []}
    assert says(changed, "the copies, 17 pairs:")
    assert says(changed, "the most suspicious first (5 of 99)")
    assert says(changed, "could not be used: 2 files.")
    changed["duplicates"]["n_pairs"] = changed["suspects"]["n_suspects"] = 0
    changed["features"]["rejected"] = []
    for words in ("copies", "look mislabelled", "could not be used"):
        assert not says(changed, words)


def test_where_cleanlab_is_missing_it_says_how_to_look_for_wrong_labels(changed: dict) -> None:
    assert not says(changed, "EXTRAS=suspects")
    changed["suspects"] = None
    assert says(changed, "make install EXTRAS=suspects")


@pytest.mark.parametrize(
    ("n_gained", "words"),
    [(60, "Collect more photographs"), (0, "More photographs of the same kind are not seen")],
)
def test_more_photographs_are_advised_where_they_helped(
    changed: dict, n_gained: int, words: str
) -> None:
    right = np.zeros(200, dtype=bool)
    right[:100] = True
    fewer = right.copy()
    fewer[:n_gained] = False
    changed["learning_curve"] = [
        {"head": "logreg", "share": share, "n_images": round(1000 * share)}
        | {"top1": {"value": each.mean(), "low": 0.0, "high": 1.0, "n": 200}}
        | {"right": np.packbits(each).tobytes().hex()}
        for share, each in ((0.5, fewer), (1.0, right))
    ]
    assert says(changed, words)
    assert not says(changed, "make heads CURVE=1")


def test_without_a_learning_curve_it_says_how_to_get_one(changed: dict) -> None:
    assert says(changed, "make heads CURVE=1")


def test_rare_classes_are_named(changed: dict) -> None:
    for each in changed["features"]["classes"]:
        each["train"] = 60
    assert not says(changed, "rare")
    changed["features"]["classes"][2]["train"] = 20
    name = changed["features"]["classes"][2]["name"]
    assert says(changed, f"such as {name} (20 in train)")


def test_fine_tuning_that_gained_nothing_is_called_so(changed: dict) -> None:
    pair = {"first": "finetuned", "second": "logreg", "is_seen": False, "p_holm": 1.0}
    pair["difference"] = {"value": 0.01, "low": -0.02, "high": 0.04, "n": 400}
    assert not says(changed, "Fine-tuning (finetuned) gained nothing")
    changed["heads"].append({**changed["heads"][0], "name": "finetuned"})
    changed["comparisons"].append(pair)
    assert says(changed, "Fine-tuning (finetuned) gained nothing")
    assert says(changed, "+1.0 points [-2.0, +4.0]")
    pair.update(first="logreg", second="finetuned")
    assert says(changed, "-1.0 points [-4.0, +2.0]")
    pair["is_seen"] = True
    assert not says(changed, "Fine-tuning (finetuned) gained nothing")
