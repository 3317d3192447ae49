from dataclasses import replace

import numpy as np
import pytest

from headbench.classify.intervals import Comparison, Estimate
from headbench.classify.report.advice import advice
from headbench.classify.report.results import ClassCounts, Results, SuspectsFound
from headbench.classify.studies.learning_curve import CurvePoint


def says(results: Results, words: str) -> bool:
    return any(words in sentence for sentence in advice(results))


def test_weights_come_first(found: Results) -> None:
    features = replace(found.features, has_random_weights=True)
    assert advice(replace(found, features=features))[0].startswith("Use trained weights")
    for size_px in (96, 224):
        identity = replace(found.features.identity, size_px=size_px)
        features = replace(
            found.features, has_random_weights=False, weights="imagenet", identity=identity
        )
        changed = replace(found, features=features)
        assert not says(changed, "weights")
        assert says(changed, "224 px") == (size_px == 96)
        assert says(changed, "--size 224 --name '<i>run<i>-224'") == (size_px == 96)


def test_duplicates_suspects_and_rejected_files_are_counted(found: Results) -> None:
    duplicates = replace(found.duplicates, n_pairs=17)
    changed = replace(found, duplicates=duplicates, suspects=SuspectsFound("logreg", 99, 5, []))
    assert says(changed, "Look at 17 pairs of duplicates.")
    assert says(changed, "the most suspicious first: 5 of 99 searched.")
    assert says(changed, "Repair or delete 2 files that could not be used.")
    changed = replace(
        found,
        duplicates=replace(duplicates, n_pairs=0),
        suspects=SuspectsFound("logreg", 99, 0, []),
        features=replace(found.features, rejected=[]),
    )
    for words in ("duplicates", "label may be wrong", "could not be used"):
        assert not says(changed, words)


def test_where_cleanlab_is_missing_it_says_how_to_search_for_wrong_labels(found: Results) -> None:
    assert not says(found, "headbench[suspects]")
    assert says(replace(found, suspects=None), 'pip install "headbench[suspects]"')


@pytest.mark.parametrize(
    ("n_gained", "words"),
    [
        (60, "Collect more photographs"),
        (0, "Expect no large gain from more photographs"),
    ],
)
def test_more_photographs_are_advised_where_they_helped(
    found: Results, n_gained: int, words: str
) -> None:
    right = np.zeros(200, dtype=bool)
    right[:100] = True
    fewer = right.copy()
    fewer[:n_gained] = False
    curve = [
        CurvePoint(
            head="logreg",
            settings={},
            share=share,
            seed=0,
            n_images=round(1000 * share),
            top1=Estimate(each.mean(), 0.0, 1.0, 200),
            right=np.packbits(each).tobytes().hex(),
        )
        for share, each in ((0.5, fewer), (1.0, right))
    ]
    changed = replace(found, learning_curve=curve)
    assert says(changed, words)
    assert not says(changed, "--curve")


def test_without_a_learning_curve_it_says_how_to_get_one(found: Results) -> None:
    assert says(found, "'headbench heads --curve'")


def test_rare_classes_are_named(found: Results) -> None:
    def with_train(n_images: list[int]) -> Results:
        classes = [
            ClassCounts(each.name, n, each.val, each.test)
            for each, n in zip(found.features.classes, n_images, strict=True)
        ]
        return replace(found, features=replace(found.features, classes=classes))

    assert not says(with_train([60] * 6), "rare")
    name = found.features.classes[2].name
    assert says(with_train([60, 60, 20, 60, 60, 60]), f"such as {name} (20 in train)")


def test_fine_tuning_that_gained_nothing_is_called_so(found: Results) -> None:
    words = "Use logreg instead of finetuned"
    gap = Estimate(0.01, -0.02, 0.04, 400)
    assert not says(found, words)

    def compared(first: str, second: str, is_seen: bool = False) -> Results:
        pair = Comparison(first, second, gap, 5, 1, 0.2, 0.01 if is_seen else 1.0)
        heads = [*found.heads, replace(found.heads[0], name="finetuned")]
        return replace(found, heads=heads, comparisons=[*found.comparisons, pair])

    assert says(compared("finetuned", "logreg"), words)
    assert says(compared("finetuned", "logreg"), "+1.0 points [-2.0, +4.0]")
    assert says(compared("logreg", "finetuned"), "-1.0 points [-4.0, +2.0]")
    assert not says(compared("logreg", "finetuned", is_seen=True), words)
