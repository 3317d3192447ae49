import hashlib

import numpy as np
import pytest

from headbench.extract.errors import DataError
from headbench.extract.splits import (
    assign_splits,
    check_splits,
    describe_rule,
    draw_keys,
    missing_splits,
)

TRAIN, VAL, TEST = 0, 1, 2


def contents(n: int, start: int = 0) -> list[bytes]:
    return [hashlib.sha256(b"%d" % number).digest() for number in range(start, start + n)]


def test_shares_hold_within_chance() -> None:
    splits = assign_splits([None] * 10_000, contents(10_000), seed=0)
    counts = np.bincount(splits)
    # Four standard deviations of a binomial with n = 10 000.
    assert abs(counts - [7000, 1500, 1500]).max() < 4 * np.sqrt(10_000 * 0.7 * 0.3)


def test_adding_images_moves_nobody() -> None:
    few, many = contents(200), contents(500)
    before = assign_splits([None] * 200, few, seed=3)
    after = assign_splits([None] * 500, many[300:] + many[:300], seed=3)
    np.testing.assert_array_equal(before, after[200:400])


def test_copies_land_in_the_same_split() -> None:
    twice = contents(300) * 2
    splits = assign_splits([None] * 600, twice, seed=0)
    np.testing.assert_array_equal(splits[:300], splits[300:])


def test_another_seed_is_another_split() -> None:
    first, second = (assign_splits([None] * 300, contents(300), seed) for seed in (0, 1))
    assert 0.2 < (first != second).mean() < 0.8


def test_what_the_folder_names_stays_and_val_is_carved_from_train() -> None:
    given = ["train"] * 5000 + ["test"] * 100
    splits = assign_splits(given, contents(5100), seed=0)
    assert (splits[5000:] == TEST).all()
    assert (splits[:5000] != TEST).all()
    assert abs((splits[:5000] == VAL).mean() - 0.20) < 4 * np.sqrt(0.2 * 0.8 / 5000)


def test_a_folder_that_names_all_three_is_taken_at_its_word() -> None:
    given = ["train", "val", "test"] * 5
    assert assign_splits(given, contents(15), seed=0).tolist() == [TRAIN, VAL, TEST] * 5


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ([None, None], "val 15% and test 15% of all images; by content hash, seed 7"),
        (
            ["train", "test"],
            "val 20% of train, the rest as the folder names it; by content hash, seed 7",
        ),
        (["train", "val", "test"], "as the folder names them"),
    ],
)
def test_the_rule_in_words(given: list[str | None], rule: str) -> None:
    assert describe_rule(missing_splits(given), seed=7) == rule


def test_the_rule_says_what_becomes_of_groups_and_of_images_without_a_split() -> None:
    assert describe_rule(("val",), seed=7, has_groups=True) == (
        "val 20% of train, the rest as the folder names it; by group, else by content hash, seed 7"
    )
    assert describe_rule((), seed=7, has_unnamed=True) == (
        "as the folder names them, train where it names none"
    )


def test_a_group_is_drawn_by_its_name_and_an_image_without_one_by_its_content() -> None:
    hashes = contents(600)
    groups = [f"g{number // 3}" for number in range(300)] + [None] * 300
    splits = assign_splits([None] * 600, draw_keys(hashes, groups), seed=0)
    assert (np.ptp(splits[:300].reshape(100, 3), axis=1) == 0).all()
    assert len(np.unique(splits[:300])) == 3
    others = assign_splits([None] * 600, draw_keys(hashes[::-1], groups), seed=0)
    np.testing.assert_array_equal(splits[:300], others[:300])
    alone = assign_splits([None] * 600, hashes, seed=0)
    np.testing.assert_array_equal(splits[300:], alone[300:])


def test_another_share_of_val_is_carved_and_said() -> None:
    splits = assign_splits(["train"] * 5000 + ["test"] * 10, contents(5010), 0, val_share=0.4)
    assert abs((splits[:5000] == VAL).mean() - 0.40) < 4 * np.sqrt(0.4 * 0.6 / 5000)
    assert describe_rule(("val",), 0, 0.4).startswith("val 40% of train")


@pytest.mark.parametrize(
    ("given", "share", "message"),
    [
        (["train", "val"], 0.4, "have a val split already"),
        ([None], 0.85, "less than 0.85"),
        ([None], 0.0, "expected more than 0"),
    ],
)
def test_a_share_of_val_that_cannot_be_is_refused(
    given: list[str | None], share: float, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        assign_splits(given, contents(len(given)), 0, share)


def check(
    labels: list[int], splits: list[int], hashes: list[bytes], has_groups: bool = False
) -> list[str]:
    label_array, split_array = np.array(labels, dtype=np.int32), np.array(splits, dtype=np.uint8)
    return check_splits(label_array, split_array, hashes, ["cat", "dog"], has_groups)


def test_a_whole_split_is_quietly_accepted() -> None:
    assert check([0, 0, 0, 1, 1, 1], [0, 1, 2] * 2, contents(6)) == []


def test_copies_do_not_count_as_images() -> None:
    hashes = [*contents(3), *contents(2, start=10), *contents(1, start=10)]
    with pytest.raises(
        DataError, match=r"class 'dog' .*found 2 different \(1 train, 1 val, 1 test"
    ):
        check([0, 0, 0, 1, 1, 1], [0, 1, 2] * 2, hashes)


def test_a_class_without_train_images_cannot_be_learnt() -> None:
    with pytest.raises(DataError, match=r"class 'dog' .*0 train, 2 val, 1 test"):
        check([0, 0, 0, 1, 1, 1], [0, 1, 2, 1, 1, 2], contents(6))


def test_every_thin_class_is_named_at_once_and_absent_is_not_too_few() -> None:
    hashes = [*contents(4), *contents(2, start=10)]
    with pytest.raises(DataError) as caught:
        check([0, 0, 0, 0, 1, 1], [1, 1, 2, 2, 0, 0], hashes)
    assert str(caught.value).startswith(
        "class 'cat' is absent from train, found 4 different (0 train, 2 val, 2 test); "
        "class 'dog' has too few images to split, found 2 different (2 train, 0 val, 0 test). "
    )
    assert "'headbench predict' classifies images without labels" in str(caught.value)


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match="the test split is empty"):
        check([0, 0, 0, 1, 1, 1], [0, 0, 1, 0, 0, 1], contents(6))


def test_a_class_without_val_images_is_said() -> None:
    [warning] = check([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 0, 2], contents(6))
    assert warning == "1 of 2 classes have no val image: dog"


def test_copies_across_splits_are_said() -> None:
    hashes = [*contents(7), contents(1)[0]]
    where = [0, 0, 0, 1, 1, 1, 1, 1], [0, 1, 2, 0, 1, 2, 0, 2]
    for has_groups, why in ((False, "the named splits"), (True, "their groups or")):
        [warning] = check(*where, hashes, has_groups)
        assert warning.startswith(f"1 images have exact copies in another split, because of {why}")
